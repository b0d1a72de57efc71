"""Buckets in Redis, shared by all pods. Redis down or slow: each pod counts for itself until it is back."""

from __future__ import annotations

import asyncio
import logging
import math

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.errors import StartupError
from sibyl_runtime.server.protection.buckets import MemoryBuckets, Taken
from sibyl_runtime.workspace import RateLimit

logger = logging.getLogger("sibyl.server")
TIMEOUT = 0.1
_MAX_CONNECTIONS = 64
# The same rule as buckets.taken, in whole microseconds of the clock of Redis: pods' clocks differ.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
local after = math.max(full_at, now) + interval
local spare = now + burst * interval - after
if spare < 0 then
  return {0, 0, -spare, math.max(full_at - now, 0)}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {1, math.floor(spare / interval), 0, after - now}
"""
_MICROSECONDS = 1_000_000


class RedisBuckets:
    """Buckets under `sibyl:<namespace>:rate:<name>`."""

    def __init__(self, url: str, *, namespace: str) -> None:
        """Opens no connection yet. Raises StartupError when `url` is not a Redis URL."""
        self._prefix = f"sibyl:{namespace}:rate:"
        self._breaker = CircuitBreaker()
        self._own = MemoryBuckets()
        self._asking: set[asyncio.Task[Taken]] = set()
        try:
            # The times of the client bound a command. No timeout of asyncio: it would cancel in the middle of a reply.
            self._client: Redis = Redis.from_url(
                url,
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                max_connections=_MAX_CONNECTIONS,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise StartupError(
                "`mcp.rate_limiting.redis_url` is not a Redis URL (its text is not shown, it may hold a password); "
                "expected redis://host:6379/0, rediss://... or unix://..."
            ) from None
        self._take = self._client.register_script(_TAKE)

    async def take(self, name: str, rate: RateLimit) -> Taken:
        """Take one call out of the bucket of this name; out of this pod's own while Redis does not answer."""
        if not self._breaker.allows():
            return await self._own.take(name, rate)
        # A task of its own: the caller is cancelled when its client leaves, and a reply must be read to its end.
        asking = asyncio.ensure_future(self._ask(name, rate))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Let what was asked be answered, then release connections."""
        if self._asking:
            await asyncio.wait(self._asking)
        await self._client.aclose()

    async def _ask(self, name: str, rate: RateLimit) -> Taken:
        interval = math.ceil(60 * _MICROSECONDS / rate.requests_per_minute)
        try:
            allowed, remaining, retry, full = await self._take(keys=[self._prefix + name], args=[interval, rate.burst])
        except (RedisError, OSError, TimeoutError) as error:
            if self._breaker.failure():
                reason = " ".join(str(error).split()) or type(error).__name__
                logger.warning("Redis does not answer, rate limits count per pod: %s", reason)
            return await self._own.take(name, rate)
        if self._breaker.success():
            logger.info("Redis answers again, rate limits are shared")
        return Taken(bool(allowed), int(remaining), retry / _MICROSECONDS, full / _MICROSECONDS)
