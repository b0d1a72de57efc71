from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.cache.levels import LayeredCache, open_redis
from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.cache.protocol import LevelStats
from sibyl_runtime.errors import StartupError
from sibyl_runtime.workspace import Caching
from tests.support.caches import PATIENCE, opened


@pytest.mark.parametrize(
    ("settings", "levels"),
    [
        ({}, None),
        ({"enabled": False, "redis": {"url": "redis://h"}}, None),
        ({"enabled": True}, {"memory"}),
        ({"enabled": True, "backend": "redis", "redis": {"url": "redis://h"}}, {"redis"}),
        ({"enabled": True, "redis": {"url": "redis://h"}}, {"redis"}),
        ({"enabled": True, "memory": {}, "redis": {"url": "redis://h"}}, {"memory", "redis"}),
        ({"enabled": True, "memory": {"enabled": False}, "redis": {"url": "redis://h"}}, {"redis"}),
    ],
)
async def test_the_levels_are_those_that_the_workspace_asks_for(
    settings: dict[str, Any], levels: set[str] | None
) -> None:
    cache = opened(Caching.model_validate(settings))
    assert (None if cache is None else set(cache.stats())) == levels
    if cache is not None:
        await cache.close()


def test_a_redis_level_without_a_url_is_refused() -> None:
    with pytest.raises(StartupError, match=r"caching\.redis\.url` is not set"):
        open_redis(Caching.model_validate({"enabled": True, "backend": "redis"}))


async def test_sizes_and_times_reach_the_levels() -> None:
    cache = opened(Caching.model_validate({"enabled": True, "memory": {"max_size": 2, "ttl": 7}}))
    assert isinstance(cache, MemoryCache)
    for key in "abc":
        await cache.set(key, b"1")
    assert cache.stats()["memory"].entries == 2
    assert cache._ttl == 7


def _memory() -> MemoryCache:
    return MemoryCache(max_size=10, ttl=60)


async def test_a_hit_in_the_far_level_fills_the_near_one() -> None:
    near, far = _memory(), _memory()
    cache = LayeredCache([near, far])
    await far.set("k", b"1")
    assert await cache.get("k") == b"1"
    assert await near.get("k") == b"1"
    assert await cache.get("k") == b"1"
    assert far.stats()["memory"].hits == 1


async def test_a_value_goes_into_every_level_and_a_miss_through_all() -> None:
    near, far = _memory(), _memory()
    cache = LayeredCache([near, far])
    assert await cache.get("k") is None
    await cache.set("k", b"1")
    assert await near.get("k") == await far.get("k") == b"1"
    assert near.stats()["memory"].misses == far.stats()["memory"].misses == 1


async def test_a_pod_that_starts_afresh_finds_what_another_put_into_redis(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATIENCE, 5.0)
    caching = Caching.model_validate({"enabled": True, "memory": {}, "redis": {"url": redis_url}})
    first, second = (
        opened(caching),
        opened(caching),
    )
    assert first is not None
    assert second is not None
    await first.set("k", b"1")
    assert [await second.get("k"), await second.get("k")] == [b"1", b"1"]
    assert second.stats() == {
        "memory": LevelStats(hits=1, misses=1, entries=1, size_bytes=2, evictions=0),
        "redis": LevelStats(hits=1, misses=0, errors=0),
    }
    await first.close()
    await second.close()
