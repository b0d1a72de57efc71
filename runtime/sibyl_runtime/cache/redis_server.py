"""The Redis that the caches of a process share: one client, one pool, one circuit breaker.

The price of a bad Redis is bounded, and paid once whatever is kept there: a command has `TIMEOUT` seconds in all, and
after one failure further ones are kept away for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MaxConnectionsError, RedisError

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.errors import StartupError

logger = logging.getLogger(__name__)

TIMEOUT: Final = 0.04
MOST_CONNECTIONS: Final = 64
T = TypeVar("T")


class RedisFault(Exception):
    """Redis did not do what it was asked: a miss."""


class RedisServer:
    """Commands within their time. Health and rate limits ask Redis by themselves: they must not depend on this."""

    def __init__(self, url: str, *, breaker: CircuitBreaker | None = None) -> None:
        """Opens no connection yet. Raises StartupError when `url` is not a Redis URL."""
        self._breaker = breaker or CircuitBreaker()
        try:
            self._client: Redis = Redis.from_url(
                url,
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                max_connections=MOST_CONNECTIONS,
                # The client's own three retries would multiply the timeout.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise StartupError(
                "`shops.infrastructure.config.caching.redis.url` is not a Redis URL (its text is not shown, it may "
                "hold a password); expected redis://host:6379/0, rediss://... or unix://..."
            ) from None

    async def run(self, command: Callable[[Redis], Awaitable[T]]) -> T | None:
        """What `command` gives within TIMEOUT; None while Redis is left alone. Raises RedisFault."""
        if not self._breaker.allows():
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                result = await command(self._client)
        except MaxConnectionsError as error:
            # We are busy; Redis is well.
            raise RedisFault from error
        except (RedisError, OSError, TimeoutError) as error:
            if self._breaker.failure():
                logger.warning("Redis does not answer, the shared cache is bypassed: %s", _reason(error))
            raise RedisFault from error
        if self._breaker.success():
            logger.info("Redis answers again, the shared cache is in use")
        return result

    async def close(self) -> None:
        """Release connections."""
        await self._client.aclose()


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or f"no answer within {TIMEOUT * 1000:.0f} ms"
