"""The cache level that runtime processes share. Redis down, slow or wrong is a miss, never an error.

The price of a bad Redis is bounded: a command has `TIMEOUT` seconds in all, and after one failure a circuit breaker
keeps further requests away for a while.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MaxConnectionsError, RedisError

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.protocol import Jitter, LevelStats, spread
from sibyl_runtime.errors import StartupError

logger = logging.getLogger(__name__)

TIMEOUT = 0.04
_MAX_CONNECTIONS = 64
_SEAL_BYTES = 16


class RedisCache:
    """Values in Redis under `sibyl:<namespace>:<kind>:<key>`, each for about `ttl` seconds."""

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        kind: str = "answer",
        ttl: float,
        breaker: CircuitBreaker | None = None,
        jitter: Jitter = spread,
    ) -> None:
        """Opens no connection yet. Raises StartupError when `url` is not a Redis URL."""
        self.prefix = f"sibyl:{namespace}:{kind}:"
        """Begins every key."""
        self._ttl = ttl
        self._breaker = breaker or CircuitBreaker()
        self._jitter = jitter
        self._hits = 0
        self._misses = 0
        self._errors = 0
        try:
            self._client: Redis = Redis.from_url(
                url,
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                max_connections=_MAX_CONNECTIONS,
                # The client's own three retries would multiply the timeout.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise StartupError(
                "`shops.infrastructure.config.caching.redis.url` is not a Redis URL (its text is not shown, it may "
                "hold a password); expected redis://host:6379/0, rediss://... or unix://..."
            ) from None

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        stored = await self.attempt(lambda client: client.get(self.prefix + key))
        value = _unsealed(key, stored) if isinstance(stored, bytes) else None
        if value is None:
            self._misses += 1
        else:
            self._hits += 1
        return value

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value."""
        life = max(1, round(self._jitter(self._ttl) * 1000))
        await self.attempt(lambda client: client.set(self.prefix + key, _seal(key) + value, px=life))

    def stats(self) -> dict[str, LevelStats]:
        """Counts of this level, as this process saw them."""
        return {"redis": LevelStats(self._hits, self._misses, errors=self._errors)}

    async def close(self) -> None:
        """Release connections."""
        await self._client.aclose()

    async def attempt(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        """What `command` gives within TIMEOUT; None when Redis is away, slow, or left alone for a while."""
        if not self._breaker.allows():
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                result = await command(self._client)
        except MaxConnectionsError:
            # We are busy; Redis is well.
            self._errors += 1
            return None
        except (RedisError, OSError, TimeoutError) as error:
            self._errors += 1
            if self._breaker.failure():
                logger.warning("Redis does not answer, the shared cache is bypassed: %s", _reason(error))
            return None
        if self._breaker.success():
            logger.info("Redis answers again, the shared cache is in use")
        return result


def _seal(key: str) -> bytes:
    """Ties a value to its key: a reply that belongs to another request must never be served as this one's."""
    return hashlib.sha256(key.encode()).digest()[:_SEAL_BYTES]


def _unsealed(key: str, stored: bytes) -> bytes | None:
    return stored[_SEAL_BYTES:] if hmac.compare_digest(stored[:_SEAL_BYTES], _seal(key)) else None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or f"no answer within {TIMEOUT * 1000:.0f} ms"
