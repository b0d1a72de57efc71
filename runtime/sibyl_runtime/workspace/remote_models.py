"""Models that are reached over HTTP: what keeps a server from starting with them, as far as the document can tell.

No part of reading a document: one that no server is started with needs no key. `sibyl workspace validate` and the
operator ask, because a server would refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.text import refers_to_environment

Fault = tuple[Location, str]


def unreachable_models(workspace: Workspace) -> Iterator[Fault]:
    """OpenAI's own server needs a key, and every other one an address that holds no secret."""
    providers = workspace.providers
    for kind, named in (("llm", providers.llm), ("embedding", providers.embedding)):
        for name, provider in named.items():
            if provider.kind != "openai":
                continue
            at: Location = ("providers", kind, name)
            if provider.base_url is not None:
                yield from _address_faults((*at, "base_url"), provider.base_url)
            elif provider.api_key is None:
                yield (
                    (*at, "api_key"),
                    "is required for OpenAI's own server: a reference such as ${OPENAI_API_KEY}; for a server that "
                    "needs no key, give its base_url",
                )


def _address_faults(at: Location, address: str) -> Iterator[Fault]:
    # The address itself is never quoted: what is wrong with it may be the secret in it.
    parts = _split(address)
    named = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    if not named and not refers_to_environment(address):
        yield (at, "must start with http:// or https:// and name a host (what it holds is not shown here)")
    if parts is None:
        return
    if "@" in parts.netloc:
        yield (at, "must not hold a user or password; give the key as api_key")
    if parts.query or parts.fragment:
        yield (at, "must end with its path, such as https://models.example.com/v1; remove what follows ? or #")


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        parts.hostname  # noqa: B018  # reading it is what finds a malformed one
        return parts
    except ValueError:
        return None
