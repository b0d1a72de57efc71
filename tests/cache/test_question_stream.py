"""What pods tell each other through a real Redis, and what they do not believe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from sibyl_runtime.cache import question_stream
from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.question_index import Vector
from sibyl_runtime.cache.question_stream import BATCH, QuestionStream
from sibyl_runtime.cache.redis_server import RedisServer
from tests.support.caches import PATIENCE

SCOPE = "a" * 64
VECTOR: Vector = np.array([1, 2, 3], dtype=np.float32)
KEY = "sibyl:shop:question:stream"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PATIENCE, 5.0)


class OwnStream(QuestionStream):
    """A stream over a Redis that nobody else asks through the same pool."""

    def __init__(self, server: RedisServer, **settings: Any) -> None:
        super().__init__(server, **settings)
        self.server = server

    async def close(self) -> None:
        await self.server.close()


def stream(url: str, *, namespace: str = "shop", clock: Clock | None = None, **settings: Any) -> OwnStream:
    server = RedisServer(url, breaker=CircuitBreaker(shortest=0.0, longest=0.0))
    settings = {"model": "m", "dimension": 3, "max_entries": 10_000, "ttl": 60.0, **settings}
    return OwnStream(server, namespace=namespace, clock=clock or Clock(), **settings)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as opened:
        yield opened


async def test_a_pod_hears_what_another_one_tells_and_each_thing_once(redis_url: str) -> None:
    clock = Clock()
    one, other = stream(redis_url), stream(redis_url, clock=clock)
    await one.tell(SCOPE, "Où?", VECTOR)
    (told,) = await other.news()
    assert (told.scope, told.question, told.vector.tolist()) == (SCOPE, "Où?", [1, 2, 3])
    assert 0 <= told.age < 30
    await one.tell(SCOPE, "next", VECTOR)
    assert await other.news() == [], "it looks once a second"
    clock.now += question_stream.PAUSE
    assert [told.question for told in await other.news()] == ["next"]
    for each in (one, other):
        await each.close()


async def test_a_new_pod_reads_it_all_without_a_pause(redis_url: str) -> None:
    one, other = stream(redis_url), stream(redis_url)
    for number in range(BATCH + 1):
        await one.tell(SCOPE, str(number), VECTOR)
    assert [len(await other.news()) for _ in range(3)] == [BATCH, 1, 0]
    for each in (one, other):
        await each.close()


async def test_workspaces_that_share_a_redis_hear_nothing_of_each_other(redis_url: str) -> None:
    one, other = stream(redis_url), stream(redis_url, namespace="other")
    await one.tell(SCOPE, "ours", VECTOR)
    assert await other.news() == []
    for each in (one, other):
        await each.close()


async def test_the_stream_is_bounded_and_does_not_outlive_its_entries(redis_url: str, client: Redis) -> None:
    one = stream(redis_url, max_entries=100)
    for number in range(400):
        await one.tell(SCOPE, str(number), VECTOR)
    assert 100 <= await client.xlen(KEY) < 250
    assert 0 < await client.pttl(KEY) <= 72_000
    await one.close()


GOOD = {"scope": SCOPE, "question": "q", "model": "m", "vector": VECTOR.tobytes()}


@pytest.mark.parametrize(
    "entry",
    [
        {**GOOD, "model": "another"},
        {**GOOD, "scope": "short"},
        {**GOOD, "scope": SCOPE.upper()},
        {**GOOD, "vector": VECTOR.tobytes()[:-1]},
        {**GOOD, "question": b"\xff"},
        {**GOOD, "question": "q" * 9000},
        {"anything": "else"},
    ],
)
async def test_an_entry_of_another_shape_or_model_is_passed_over(
    redis_url: str, client: Redis, entry: dict[str, Any]
) -> None:
    one = stream(redis_url)
    await client.xadd(KEY, entry)  # type: ignore[arg-type]  # its type of a mapping is invariant
    await one.tell(SCOPE, "after it", VECTOR)
    assert [told.question for told in await one.news()] == ["after it"]
    await one.close()


async def test_a_fault_of_redis_is_no_news(redis_url: str, client: Redis) -> None:
    await client.set(KEY, "no stream")
    clock = Clock()
    one = stream(redis_url, clock=clock)
    await one.tell(SCOPE, "q", VECTOR)
    assert await one.news() == []
    await client.delete(KEY)
    clock.now += question_stream.PAUSE
    await one.tell(SCOPE, "q", VECTOR)
    assert len(await one.news()) == 1
    nowhere = stream("redis://127.0.0.1:1/0")
    await nowhere.tell(SCOPE, "q", VECTOR)
    assert await nowhere.news() == []
    for each in (one, nowhere):
        await each.close()
