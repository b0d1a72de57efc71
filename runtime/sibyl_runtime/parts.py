"""The parts of a runtime whose health it tells, and how each is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_runtime.cache import Cache, RedisServer, disk_of
from sibyl_runtime.health import Check, RedisPing
from sibyl_runtime.opening import shown_embedder
from sibyl_runtime.pipeline.context import Services
from sibyl_runtime.workspace import Workspace


class Parts:
    """Database, vector store, language model and cache. Owns a connection to Redis: close it."""

    def __init__(self, services: Services, caches: Mapping[str, Cache], shared: RedisServer | None = None) -> None:
        """`shared` is the Redis that the caches are on."""
        self._services = services
        self._shared = shared
        self._caches = caches
        self._disk = disk_of(caches.values())
        self._redis = redis_ping(services.workspace)

    def checks(self) -> Mapping[str, Check]:
        """By the names of the health document."""
        return {
            "database": self.database,
            "vector_store": self.vector_store,
            "llm_provider": self.language_model,
            "cache": self.cache,
        }

    async def database(self) -> Mapping[str, Any]:
        """What it remarks; unhealthy after a write that failed."""
        await self._services.store.check()
        remarks = self._services.store.remarks()
        failed = remarks.get("last_failed_write")
        return remarks if failed is None else {**remarks, "status": "unhealthy", "error": failed["error"]}

    async def vector_store(self) -> Mapping[str, Any]:
        """What the collection holds."""
        counts = await self._services.store.counts()
        return {
            "documents": counts.documents,
            "chunks": counts.chunks,
            "corpus_version": counts.corpus_version,
            "embedder": shown_embedder(self._services),
        }

    async def language_model(self) -> Mapping[str, Any]:
        """The one that answers by default; another one that fails shows in the answers of its own pipeline."""
        name = self._services.default_language_model
        await self._services.language_models[name].check()
        return {"provider": name, "kind": self._services.workspace.default_llm[1].kind}

    async def cache(self) -> Mapping[str, Any]:
        """Hits and misses by kind and level; unhealthy where a level is not in full use. Raises CacheUnreachable for a
        Redis that is away."""
        if not self._caches:
            return {"status": "disabled"}
        if self._redis is not None:
            await self._redis()
        told: dict[str, Any] = {
            kind: {name: vars(stats) for name, stats in cache.stats().items()} for kind, cache in self._caches.items()
        }
        troubles = [self._shared.trouble] if self._shared is not None else []
        if self._disk is not None:
            remarks = dict(await self._disk.remarks())
            troubles.append(remarks.pop("error", None))
            told["disk_file"] = remarks
        errors = "; ".join(trouble for trouble in troubles if trouble)
        return {**told, "status": "unhealthy", "error": errors} if errors else told

    async def close(self) -> None:
        """Release the connection."""
        if self._redis is not None:
            await self._redis.close()


def redis_ping(workspace: Workspace) -> RedisPing | None:
    """The check of the caches' Redis level; None without one."""
    level = workspace.caching.redis_level
    return None if level is None or level.url is None else RedisPing(level.url)
