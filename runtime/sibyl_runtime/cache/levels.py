"""Which levels a workspace asks for, the nearer in front of the farther: memory, Redis, disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sibyl_runtime.cache.disk import DiskCache, DiskFile
from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.cache.protocol import Cache, LevelStats
from sibyl_runtime.cache.redis import RedisCache
from sibyl_runtime.cache.redis_server import RedisServer
from sibyl_runtime.errors import StartupError
from sibyl_runtime.workspace import Caching


class LayeredCache:
    """Levels from near to far. A hit in a far one fills the nearer ones; a value goes into all."""

    def __init__(self, levels: Sequence[Cache]) -> None:
        self.levels = tuple(levels)

    async def get(self, key: str) -> bytes | None:
        """The value from the nearest level that has it."""
        for position, level in enumerate(self.levels):
            value = await level.get(key)
            if value is not None:
                for nearer in self.levels[:position]:
                    await nearer.set(key, value)
                return value
        return None

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value in every level."""
        for level in self.levels:
            await level.set(key, value)

    def stats(self) -> dict[str, LevelStats]:
        """Counts of every level."""
        return {name: stats for level in self.levels for name, stats in level.stats().items()}

    async def close(self) -> None:
        """Close every level."""
        for level in self.levels:
            await level.close()


def open_disk(caching: Caching, data_directory: Path) -> DiskFile | None:
    """The file of the disk level, one for every kind of entry; None without that level. Raises StartupError."""
    level = caching.disk_level
    if level is None:
        return None
    directory = data_directory / "cache" if level.path is None else Path(level.path)
    return DiskFile(directory, max_bytes=level.max_bytes)


def open_redis(caching: Caching) -> RedisServer | None:
    """The Redis of the caches, one for every kind of entry; None without that level. Needs no Redis to be up.

    Raises StartupError for a level without a usable url.
    """
    level = caching.redis_level
    if level is None:
        return None
    if level.url is None:
        raise StartupError(
            "the Redis level of the cache is on, and `shops.infrastructure.config.caching.redis.url` is not set: "
            "set it, for example to ${REDIS_URL}, or set redis.enabled: false"
        )
    return RedisServer(level.url)


def disk_of(caches: Iterable[Cache]) -> DiskFile | None:
    """The file that these caches share; None where they have no disk level."""
    levels = (level for cache in caches for level in (cache.levels if isinstance(cache, LayeredCache) else (cache,)))
    return next((level.file for level in levels if isinstance(level, DiskCache)), None)


def cache_of(
    caching: Caching, *, namespace: str, kind: str, redis: RedisServer | None = None, disk: DiskFile | None = None
) -> Cache | None:
    """The levels that `caching` describes, for entries of one `kind`, such as `answer`; None when it has none.

    `namespace` keeps workspaces apart that share `redis` or `disk`.
    """
    levels: list[Cache] = []
    if (memory := caching.memory_level) is not None:
        levels.append(MemoryCache(max_size=memory.max_size, ttl=memory.ttl))
    if redis is not None and (shared := caching.redis_level) is not None:
        levels.append(RedisCache(redis, namespace=namespace, kind=kind, ttl=shared.ttl))
    if disk is not None and (lasting := caching.disk_level) is not None:
        levels.append(DiskCache(disk, namespace=namespace, kind=kind, ttl=lasting.ttl))
    if len(levels) > 1:
        return LayeredCache(levels)
    return levels[0] if levels else None
