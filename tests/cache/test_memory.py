from __future__ import annotations

from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.cache.protocol import LevelStats, spread


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _cache(*, max_size: int = 3, clock: _Clock | None = None) -> MemoryCache:
    return MemoryCache(max_size=max_size, ttl=10, clock=clock or _Clock(), jitter=lambda ttl: ttl)


async def test_a_value_is_kept_and_counted() -> None:
    cache = _cache()
    assert await cache.get("a") is None
    await cache.set("a", b"1")
    assert await cache.get("a") == b"1"
    assert cache.stats() == {"memory": LevelStats(hits=1, misses=1, entries=1, size_bytes=2, evictions=0)}


async def test_a_value_ends_with_its_time() -> None:
    clock = _Clock()
    cache = _cache(clock=clock)
    await cache.set("a", b"1")
    clock.now += 9.9
    assert await cache.get("a") == b"1"
    clock.now += 0.1
    assert await cache.get("a") is None
    assert cache.stats()["memory"].entries == 0


async def test_setting_again_renews_value_and_time() -> None:
    clock = _Clock()
    cache = _cache(clock=clock)
    await cache.set("a", b"1")
    clock.now += 9
    await cache.set("a", b"2")
    clock.now += 9
    assert await cache.get("a") == b"2"


async def test_the_entry_unused_longest_makes_room() -> None:
    cache = _cache(max_size=2)
    await cache.set("a", b"1")
    await cache.set("b", b"2")
    assert await cache.get("a") == b"1"
    await cache.set("c", b"3")
    assert [await cache.get(key) for key in "abc"] == [b"1", None, b"3"]


async def test_closing_forgets_everything() -> None:
    cache = _cache()
    await cache.set("a", b"1")
    await cache.close()
    assert await cache.get("a") is None


def test_the_ttl_spreads_by_ten_percent() -> None:
    values = [spread(100) for _ in range(500)]
    assert 90 <= min(values) < 93
    assert 107 < max(values) <= 110
