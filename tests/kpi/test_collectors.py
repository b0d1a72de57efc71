"""What is read at each scrape."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry

from sibyl_runtime.cache import cache_of, open_disk, open_redis
from sibyl_runtime.kpi import CacheLevelCollector, TaskCollector
from sibyl_runtime.workspace import Caching
from tests.support.conditions import until


async def test_tasks_are_counted_until_they_end() -> None:
    registry = CollectorRegistry()
    registry.register(TaskCollector())

    def tasks() -> float | None:
        return registry.get_sample_value("sibyl_event_loop_tasks")

    before = tasks()
    end = asyncio.Event()
    waiting = [asyncio.create_task(end.wait()) for _ in range(3)]
    assert before is not None
    assert tasks() == before + len(waiting)
    end.set()
    await until(lambda: tasks() == before)


def test_without_an_event_loop_there_is_no_number_of_tasks() -> None:
    assert list(TaskCollector().collect()) == []


async def test_every_level_tells_what_it_holds_where_it_can(tmp_path: Path, redis_url: str) -> None:
    caching = Caching.model_validate(
        {"memory": {"max_size": 2}, "redis": {"url": redis_url}, "disk": {"path": str(tmp_path), "max_size_gb": 0.01}}
    )
    disk = open_disk(caching, tmp_path)
    assert disk is not None
    redis = open_redis(caching)
    assert redis is not None
    caches = {
        kind: cache_of(caching, namespace="docs", kind=kind, redis=redis, disk=disk) for kind in ("answer", "embedding")
    }
    registry = CollectorRegistry()
    registry.register(CacheLevelCollector({kind: cache for kind, cache in caches.items() if cache is not None}))
    answers = caches["answer"]
    assert answers is not None
    for key in ("a", "b", "c"):
        await answers.set(key, bytes(100))
    await answers.get("a")

    def told(name: str) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["cache"], sample.labels["level"]): sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == name
        }

    # A value fetched from a farther level pushes another one out of memory; on disk, 16 bytes are a seal.
    assert told("sibyl_cache_entries") == {("answer", "memory"): 2, ("answer", "disk"): 3, ("embedding", "memory"): 0}
    assert told("sibyl_cache_size_bytes") == {
        ("answer", "memory"): 2 * 101,
        ("answer", "disk"): 3 * 116,
        ("embedding", "memory"): 0,
    }
    assert told("sibyl_cache_evictions_total") == {
        ("answer", "memory"): 2,
        ("answer", "disk"): 0,
        ("embedding", "memory"): 0,
        ("embedding", "disk"): 0,
    }
    for cache in caches.values():
        assert cache is not None
        await cache.close()
    await disk.close()
    await redis.close()
