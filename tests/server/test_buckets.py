"""Token buckets: in memory and in Redis they keep the same rule, and neither grows without end."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from sibyl_runtime.errors import StartupError
from sibyl_runtime.server.protection import buckets as module
from sibyl_runtime.server.protection import redis_buckets
from sibyl_runtime.server.protection.buckets import Buckets, MemoryBuckets
from sibyl_runtime.server.protection.redis_buckets import RedisBuckets
from sibyl_runtime.workspace import RateLimit
from tests.support.redis_server import RedisServer

RATE = RateLimit(requests_per_minute=60, burst=3)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with tests Redis may take longer than a service would wait for it."""
    monkeypatch.setattr(redis_buckets, "TIMEOUT", 20.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_burst_is_let_through_and_then_one_call_for_each_interval() -> None:
    clock = Clock()
    buckets = MemoryBuckets(clock)
    first = [await buckets.take("a", RATE) for _ in range(4)]
    assert [(taken.allowed, taken.remaining) for taken in first] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    assert first[-1].retry_after == pytest.approx(1.0)
    assert first[-1].full_after == pytest.approx(3.0)
    clock.now += first[-1].retry_after
    assert [(await buckets.take("a", RATE)).allowed for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [(await buckets.take("a", RATE)).allowed for _ in range(4)] == [True, True, True, False]


async def test_one_bucket_does_not_empty_another() -> None:
    buckets = MemoryBuckets(Clock())
    for _ in range(4):
        await buckets.take("a", RATE)
    assert (await buckets.take("b", RATE)).allowed


@given(
    rate=st.builds(RateLimit, requests_per_minute=st.integers(1, 1_000_000), burst=st.integers(1, 50)),
    pauses=st.lists(st.floats(0, 90), min_size=1, max_size=60),
)
async def test_no_pattern_of_calls_gets_more_than_the_rate_and_the_burst(rate: RateLimit, pauses: list[float]) -> None:
    clock = Clock()
    start = clock.now
    buckets = MemoryBuckets(clock)
    allowed = 0
    for pause in pauses:
        clock.now += pause
        taken = await buckets.take("a", rate)
        allowed += taken.allowed
        assert allowed <= rate.burst + (clock.now - start) * rate.requests_per_minute / 60 + 1e-6
        if not taken.allowed:
            clock.now += taken.retry_after + 1e-6
            assert (await buckets.take("a", rate)).allowed
            allowed += 1


async def test_full_buckets_are_forgotten_and_others_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BUCKETS", 2000)
    clock = Clock()
    buckets = MemoryBuckets(clock)
    for number in range(10_000):
        await buckets.take(f"held-{number}", RATE)
        assert len(buckets._full_at) <= 2001
    clock.now += 60
    for number in range(10_000):
        clock.now += 60
        await buckets.take(f"full-{number}", RATE)
    assert len(buckets._full_at) <= 2001


async def test_redis_keeps_the_same_rule(redis_url: str) -> None:
    buckets = RedisBuckets(redis_url, namespace="docs")
    slow = RateLimit(requests_per_minute=1, burst=3)
    taken = [await buckets.take("a", slow) for _ in range(4)]
    await buckets.close()
    assert [(one.allowed, one.remaining) for one in taken] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    assert 50 < taken[-1].retry_after <= 60
    assert 110 < taken[2].full_after <= 180


async def test_pods_share_a_bucket_in_redis_and_it_ends_by_itself(redis_url: str) -> None:
    pods: list[Buckets] = [RedisBuckets(redis_url, namespace="docs") for _ in range(2)]
    rate = RateLimit(requests_per_minute=1, burst=10)
    taken = await asyncio.gather(*(pod.take("a", rate) for pod in pods for _ in range(10)))
    for pod in pods:
        await pod.close()
    assert sum(one.allowed for one in taken) == 10
    with Redis.from_url(redis_url) as client:
        assert client.keys() == [b"sibyl:docs:rate:a"]
        assert 500_000 < int(str(client.pttl("sibyl:docs:rate:a"))) <= 600_000


async def test_without_redis_each_pod_counts_for_itself_and_tells_once(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    redis_server.stop()
    try:
        buckets = RedisBuckets(redis_server.url, namespace="docs")
        slow = RateLimit(requests_per_minute=1, burst=2)
        assert [(await buckets.take("a", slow)).allowed for _ in range(3)] == [True, True, False]
        await buckets.close()
    finally:
        redis_server.start()
    told = [record.message for record in caplog.records if record.name == "sibyl.server"]
    assert len(told) == 1
    assert told[0].startswith("Redis does not answer, rate limits count per pod: ")


async def test_a_caller_who_leaves_does_not_break_the_connection(redis_url: str) -> None:
    buckets = RedisBuckets(redis_url, namespace="docs")
    rate = RateLimit(requests_per_minute=1, burst=100)
    await buckets.take("a", rate)
    for _ in range(20):
        asking = asyncio.ensure_future(buckets.take("a", rate))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert (await buckets.take("a", rate)).allowed
    await buckets.close()
    gc.collect()


def test_an_address_that_is_no_redis_is_refused_and_not_shown() -> None:
    with pytest.raises(StartupError, match=r"`mcp\.rate_limiting\.redis_url` is not a Redis URL") as refused:
        RedisBuckets("postgresql://user:hunter2@h/db", namespace="docs")
    assert "hunter2" not in refused.value.message
