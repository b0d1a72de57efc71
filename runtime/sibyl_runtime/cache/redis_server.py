"""The Redis that the caches of a process share: one client, one pool, one circuit breaker.

The price of a bad Redis is bounded, and paid once whatever is kept there: nobody waits for a command for more than
`TIMEOUT` seconds, and after one failure further ones are kept away for a while. One that answers with a refusal is
asked on: it may be full, and what it holds is still there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, MaxConnectionsError, RedisError, ResponseError

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.errors import StartupError

logger = logging.getLogger(__name__)

TIMEOUT: Final = 0.04
FINISHING: Final = 1.0
"""Seconds that a command may go on which nobody waits for any more: to open a connection takes several round trips, and
the next command finds it open."""
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
        self._refusals: dict[str, float] = {}
        self._outage = ""
        self._under_way: set[asyncio.Task[Any]] = set()
        try:
            self._client: Redis = Redis.from_url(
                url,
                socket_timeout=FINISHING,
                socket_connect_timeout=FINISHING,
                max_connections=MOST_CONNECTIONS,
                # The client's own three retries would multiply the timeout.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise StartupError(
                "`shops.infrastructure.config.caching.redis.url` is not a Redis URL (its text is not shown, it may "
                "hold a password); expected redis://host:6379/0, rediss://... or unix://..."
            ) from None

    @property
    def trouble(self) -> str | None:
        """Why it is not in full use, for the health; None while it is."""
        if not self._breaker.closed:
            return f"Redis is passed by for a while: {self._outage}"
        refused = [reason for reason, until in self._refusals.items() if until > self._clock()]
        return f"Redis refuses a command: {refused[-1]}" if refused else None

    async def run(self, command: Callable[[Redis], Awaitable[T]]) -> T | None:
        """What `command` gives within TIMEOUT; None while Redis is left alone. Raises RedisFault."""
        if not self._breaker.allows():
            return None
        task = asyncio.ensure_future(self._finished(command))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        done, _ = await asyncio.wait({task}, timeout=TIMEOUT)
        if not done:
            self._failed(f"no answer within {TIMEOUT * 1000:.0f} ms")
            raise RedisFault
        result, error = task.result()
        if error is None:
            if self._breaker.success():
                logger.info("Redis answers again, the shared cache is in use")
            return result
        if isinstance(error, ResponseError):
            self._breaker.success()
            self._refused(_words(error))
        elif not isinstance(error, MaxConnectionsError):  # then we are busy, and Redis is well
            self._failed(_words(error))
        raise RedisFault from error

    async def close(self) -> None:
        """Release connections."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=FINISHING)
        await self._client.aclose()

    async def _finished(self, command: Callable[[Redis], Awaitable[T]]) -> tuple[T | None, Exception | None]:
        """To its end, whoever waits: a reply that is not read would be the next command's."""
        try:
            async with asyncio.timeout(FINISHING):
                return await command(self._client), None
        except (RedisError, OSError, TimeoutError) as error:
            return None, error

    def _failed(self, reason: str) -> None:
        self._outage = reason
        if self._breaker.failure():
            logger.warning("Redis does not answer, the shared cache is bypassed: %s", reason)

    def _refused(self, reason: str) -> None:
        """Redis is well, and does not do this: full, read-only, no right. Each reason is told once in a while."""
        now = self._clock()
        if self._refusals.get(reason, now) <= now:
            self._refusals[reason] = now + REFUSAL_PAUSE
            logger.warning("Redis refuses a command of the shared cache: %s", reason)


def _words(error: Exception) -> str:
    """Redis's own words, less the command, which holds what is kept: a pipeline puts it in front of them."""
    if isinstance(error, AuthenticationError):
        return "the password or the user of its url is missing or wrong"
    words = str(error).rpartition(_FAILED)[2].strip("()'\",")
    return " ".join(words.split())[:200] or type(error).__name__
