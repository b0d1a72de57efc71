"""Caches that each have a Redis connection of their own, and close it: what a runtime does for all kinds at once."""

from __future__ import annotations

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.levels import LayeredCache, cache_of, open_redis
from sibyl_runtime.cache.protocol import Cache, Jitter, spread
from sibyl_runtime.cache.redis import RedisCache
from sibyl_runtime.cache.redis_server import RedisServer
from sibyl_runtime.workspace import Caching

PATIENCE = "sibyl_runtime.cache.redis_server.TIMEOUT"


class OwnRedisCache(RedisCache):
    """A cache over a Redis that nobody else asks through the same pool."""

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "shop",
        kind: str = "answer",
        ttl: float = 60,
        breaker: CircuitBreaker | None = None,
        jitter: Jitter = spread,
    ) -> None:
        self.server = RedisServer(url, breaker=breaker)
        super().__init__(self.server, namespace=namespace, kind=kind, ttl=ttl, jitter=jitter)

    async def close(self) -> None:
        await self.server.close()


class OwnLevels(LayeredCache):
    """The levels of a cache, and its own Redis."""

    def __init__(self, cache: Cache, server: RedisServer) -> None:
        super().__init__([cache])
        self._server = server

    async def close(self) -> None:
        await super().close()
        await self._server.close()


def opened(caching: Caching, *, namespace: str = "shop", kind: str = "answer") -> Cache | None:
    """The levels that `caching` describes but for the disk."""
    redis = open_redis(caching)
    cache = cache_of(caching, namespace=namespace, kind=kind, redis=redis)
    return cache if cache is None or redis is None else OwnLevels(cache, redis)
