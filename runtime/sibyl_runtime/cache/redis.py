"""The cache level that runtime processes share. Redis down, slow or wrong is a miss, never an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from sibyl_runtime.cache.protocol import Jitter, LevelStats, spread
from sibyl_runtime.cache.redis_server import RedisFault, RedisServer
from sibyl_runtime.cache.seal import sealed, unsealed


class RedisCache:
    """Values in Redis under `sibyl:<namespace>:<kind>:<key>`, each for about `ttl` seconds."""

    def __init__(self, server: RedisServer, *, namespace: str, kind: str, ttl: float, jitter: Jitter = spread) -> None:
        self._server = server
        self._prefix = f"sibyl:{namespace}:{kind}:"
        self._ttl = ttl
        self._jitter = jitter
        self._hits = 0
        self._misses = 0
        self._errors = 0

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        name = self._prefix + key
        stored = await self._attempt(lambda client: client.get(name))
        value = unsealed(name.encode(), stored) if isinstance(stored, bytes) else None
        if value is None:
            self._misses += 1
        else:
            self._hits += 1
        return value

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value."""
        name, life = self._prefix + key, max(1, round(self._jitter(self._ttl) * 1000))
        await self._attempt(lambda client: client.set(name, sealed(name.encode(), value), px=life))

    def stats(self) -> dict[str, LevelStats]:
        """Counts of this level, as this process saw them."""
        return {"redis": LevelStats(self._hits, self._misses, errors=self._errors)}

    async def close(self) -> None:
        """The connections are closed by who opened the server."""

    async def _attempt(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        try:
            return await self._server.run(command)
        except RedisFault:
            self._errors += 1
            return None
