"""The Redis that the caches of a process share: one client, one pool, one circuit breaker.

The price of a bad Redis is bounded, and paid once whatever is kept there: a command has `TIMEOUT` seconds in all, and
after one failure further ones are kept away for a while. One that answers with a refusal is asked on: it may be full,
and what it holds is still there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.errors import StartupError

logger = logging.getLogger(__name__)

TIMEOUT: Final = 0.04
MOST_CONNECTIONS: Final = 64
REFUSAL_PAUSE: Final = 600.0
_FAILED: Final = " of pipeline caused error: "
T = TypeVar("T")


class RedisFault(Exception):
    """Redis did not do what it was asked: a miss."""


class RedisServer:
    """Commands within their time. Health and rate limits ask Redis by themselves: they must not depend on this."""

    def __init__(
        self, url: str, *, breaker: CircuitBreaker | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Opens no connection yet. Raises StartupError when `url` is not a Redis URL."""
        self._breaker = breaker or CircuitBreaker()
        self._clock = clock
        self._told: dict[str, float] = {}
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
        except ResponseError as error:
            self._breaker.success()
            self._log_refusal(error)
            raise RedisFault from error
        except (RedisError, OSError, TimeoutError) as error:
            if self._breaker.failure():
                logger.warning("Redis does not answer, the shared cache is bypassed: %s", _reason(error))
            raise RedisFault from error
        if self._breaker.success():
            logger.info("Redis answers again, the shared cache is in use")
        return result

    def _log_refusal(self, error: ResponseError) -> None:
        """Redis is well, and does not do this: full, read-only, no right. Each reason once in a while."""
        reason = _refusal(error)
        now = self._clock()
        if self._told.get(reason, now) <= now:
            self._told[reason] = now + REFUSAL_PAUSE
            logger.warning("Redis refuses a command of the shared cache: %s", reason)

    async def close(self) -> None:
        """Release connections."""
        await self._client.aclose()


def _refusal(error: ResponseError) -> str:
    """In Redis's own words, less the command, which holds what is kept: a pipeline puts it in front of them."""
    words = str(error).rpartition(_FAILED)[2].strip("()'\",")
    return " ".join(words.split())[:200] or type(error).__name__


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or f"no answer within {TIMEOUT * 1000:.0f} ms"
