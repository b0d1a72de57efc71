"""The public keys of an issuer of tokens (JWKS): fetched when needed, kept, and fetched again when they rotate."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import jwt
import orjson

from sibyl_runtime.errors import Overloaded, Unauthorized

logger = logging.getLogger("sibyl.server")
FRESH_SECONDS = 300.0
"""Keys older than this are fetched again: for so long a withdrawn key may go on working."""
STALE_SECONDS = 3600.0
"""Keys that could not be fetched again are used for so long: an issuer that is away for a moment stops nobody."""
PAUSE_SECONDS = 10.0
"""Between two fetches: a stranger who invents key ids must not make this server flood the issuer."""
FETCH_SECONDS = 5.0
LONGEST_ANSWER = 1 << 20
_KINDS: Final[Mapping[str, str]] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class FetchFailed(Exception):
    """The keys could not be fetched."""


class PublishedKeys:
    """The keys at `url` that are meant for signatures with `algorithm`. `clock` in seconds."""

    def __init__(self, url: str, algorithm: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._algorithm = algorithm
        self._clock = clock
        self._keys: tuple[jwt.PyJWK, ...] = ()
        self._fetched: float | None = None
        self._tried: float | None = None
        self._fetching = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    async def key_of(self, key_id: str | None) -> jwt.PyJWK:
        """The key of this id; the only one, for a token without an id. Raises Unauthorized or Overloaded."""
        if self._age() > STALE_SECONDS:
            await self._fetch()
        elif self._age() > FRESH_SECONDS and (self._renewal is None or self._renewal.done()):
            # Beside the request: an issuer that does not answer must not make everybody wait for its timeout.
            self._renewal = asyncio.ensure_future(self._fetch())
        if self._age() > STALE_SECONDS:
            raise Overloaded(
                "The keys that tokens are verified with cannot be fetched (mcp.authentication.jwks_url); try again "
                "later. The server's log has the reason.",
                retry_after=PAUSE_SECONDS,
            )
        found = self._find(key_id)
        if found is None:
            # A key that was added since: issuers rotate by publishing first and signing then.
            await self._fetch()
            found = self._find(key_id)
        if found is None:
            raise Unauthorized("The token is not signed with a key that this server knows.")
        return found

    async def close(self) -> None:
        """Stop to fetch."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    def _find(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == key_id), None)

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._clock() - self._fetched

    async def _fetch(self) -> None:
        """Fetch, unless that was tried a moment ago; those who wait for the same fetch find it done."""
        async with self._fetching:
            if self._tried is not None and self._clock() - self._tried < PAUSE_SECONDS:
                return
            self._tried = self._clock()
            try:
                self._keys = usable_keys(await self._answer(), self._algorithm)
            except (FetchFailed, TimeoutError, httpx2.HTTPError, httpx2.InvalidURL) as error:
                logger.warning("keys of tokens: %s: %s", urlsplit(self._url).hostname, error or type(error).__name__)
                return
            self._fetched = self._clock()

    async def _answer(self) -> bytes:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx2.AsyncClient(timeout=FETCH_SECONDS) as client,
            client.stream("GET", self._url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise FetchFailed(f"answered {response.status_code}")
            read = bytearray()
            async for part in response.aiter_bytes():
                read += part
                if len(read) > LONGEST_ANSWER:
                    raise FetchFailed(f"answered more than {LONGEST_ANSWER:,} bytes")
            return bytes(read)


def usable_keys(answer: bytes, algorithm: str) -> tuple[jwt.PyJWK, ...]:
    """The keys of a JWKS whose kind, use and algorithm are right for signatures with `algorithm`.

    Others are left out, so that no public key is ever taken for a shared secret. Raises FetchFailed.
    """
    try:
        listed = orjson.loads(answer)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        listed = None
    if not isinstance(listed, list):
        raise FetchFailed("the answer is no JSON Web Key Set")
    keys = [key for one in listed if isinstance(one, dict) and (key := _usable(one, algorithm)) is not None]
    if not keys:
        raise FetchFailed(f"the key set has no key for {algorithm}")
    return tuple(keys)


def _usable(written: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    if written.get("kty") != _KINDS[algorithm[:2]] or written.get("use", "sig") != "sig":
        return None
    if written.get("alg", algorithm) != algorithm:
        return None
    try:
        return jwt.PyJWK(written, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
