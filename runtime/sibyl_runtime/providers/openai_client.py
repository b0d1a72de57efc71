"""The client of a server that speaks OpenAI's API, the same for language models and for embedding models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import openai

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.llm.openai_failures import Identity
from sibyl_runtime.workspace import address_fault

if TYPE_CHECKING:
    from sibyl_runtime.workspace import EmbeddingProvider, LlmProvider

OPENAI_URL = "https://api.openai.com/v1"

# A server that is there accepts a connection at once; waiting longer only hides that it is not.
CONNECT_SECONDS = 5.0


def open_client(
    who: Identity, provider: LlmProvider | EmbeddingProvider, limits: httpx2.Limits, *, max_retries: int
) -> openai.AsyncOpenAI:
    """A client; nothing is sent. Raises StartupError, with the field, for a key or an address that cannot work."""
    if not provider.api_key and provider.base_url is None:
        raise StartupError(f"{who.field}.api_key: is missing; give a key, or the base_url of a server that needs none")
    fault = address_fault(who.base_url)
    if fault is not None:
        raise StartupError(f"{who.field}.base_url: {fault}")
    timeout = timeout_of(provider.timeout)
    http = httpx2.AsyncClient(limits=limits, timeout=timeout)
    try:
        return openai.AsyncOpenAI(
            # Never None or empty: the library would look for a key in the environment, perhaps another service's.
            api_key=who.api_key or "none",
            base_url=who.base_url,
            max_retries=max_retries,
            timeout=timeout,
            http_client=http,
        )
    except httpx2.InvalidURL as error:
        # The library's words name the position and the sort of character, never the address.
        raise StartupError(f"{who.field}.base_url: is no address that can be asked: {error}") from error


def omitted_headers(provider: LlmProvider | EmbeddingProvider) -> dict[str, openai.Omit]:
    """What the library would add by itself: a key where none is wanted, and OpenAI's account names for strangers."""
    names = [] if provider.api_key else ["Authorization"]
    names += [] if provider.base_url is None else ["OpenAI-Organization", "OpenAI-Project"]
    return dict.fromkeys(names, openai.Omit())


def timeout_of(seconds: float) -> httpx2.Timeout:
    """A little less for getting a connection than for all of it, so that a failure there is told as what it is."""
    connection = min(0.9 * seconds, CONNECT_SECONDS)
    return httpx2.Timeout(seconds, connect=connection, pool=connection)
