"""Models that are reached over HTTP: what keeps a server from starting with them, as far as the document can tell.

No part of reading a document: one that no server is started with needs no key. `sibyl workspace validate` and the
operator ask, because a server would refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.text import refers_to_environment

Fault = tuple[Location, str]

_NAMELESS: Final = "must start with http:// or https:// and name a host (what it holds is not shown here)"


def unreachable_models(workspace: Workspace) -> Iterator[Fault]:
    """OpenAI's own server needs a key, and every other one an address that holds no secret."""
    providers = workspace.providers
    for kind, named in (("llm", providers.llm), ("embedding", providers.embedding)):
        for name, provider in named.items():
            if provider.kind != "openai":
                continue
            at: Location = ("providers", kind, name)
            if provider.base_url is not None:
                fault = address_fault(provider.base_url)
                if fault is not None:
                    yield (*at, "base_url"), fault
            elif provider.api_key is None:
                yield (
                    (*at, "api_key"),
                    "is required for OpenAI's own server: a reference such as ${OPENAI_API_KEY}; for a server that "
                    "needs no key, give its base_url",
                )


def address_fault(address: str) -> str | None:
    """Why no client can be opened for a server of models at `address`; None where nothing speaks against it.

    The address is never quoted: what is wrong with it may be the secret in it. What a reference to the environment
    stands for is judged by who knows its value.
    """
    try:
        parts = urlsplit(address)
        named = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None if refers_to_environment(address) else _NAMELESS
    if "@" in parts.netloc:
        return "must not hold a user or password; give the key as api_key"
    if parts.query or parts.fragment:
        # Clients append the paths of the API to it: all after ? would go to the server as something else.
        return "must end with its path, such as https://models.example.com/v1; remove what follows ? or #"
    return None if named or refers_to_environment(address) else _NAMELESS
