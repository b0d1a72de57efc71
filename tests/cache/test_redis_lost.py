"""Redis killed under load, another in its place with another password, or full: every request still gets its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import numpy as np
import pytest
from redis import Redis

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.levels import LayeredCache
from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.cache.question_stream import QuestionStream
from tests.support.caches import PATIENCE, OwnRedisCache
from tests.support.redis_server import RedisServer

REQUESTS_AT_ONCE = 40


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


class Requests:
    """Clients that ask with next to no pause, each through the cache, as a runtime pod serves them.

    They are told to stop and not cancelled: asyncio.wait_for, through which the Redis client sends, can swallow a
    cancellation before Python 3.12.
    """

    def __init__(self, cache: LayeredCache) -> None:
        self._cache = cache
        self._answered = 0
        self._more = asyncio.Event()
        self._over = False
        self.wrong: list[bytes] = []

    async def client(self, number: int) -> None:
        count = 0
        while not self._over:
            count += 1
            key = f"{number}-{count % 7}"
            found = await self._cache.get(key)
            if found is None:
                await self._cache.set(key, key.encode())
            elif found != key.encode():
                self.wrong.append(found)
            self._answered += 1
            self._more.set()
            # A loop that never rests keeps the thread that starts Redis from running.
            await asyncio.sleep(0.001)

    async def some_more(self, number: int = 10 * REQUESTS_AT_ONCE) -> None:
        """Wait until so many further requests were answered."""
        wanted = self._answered + number
        while self._answered < wanted:
            self._more.clear()
            await self._more.wait()

    def stop(self) -> None:
        """Let every client end with the request that it is in."""
        self._over = True


@pytest.mark.parametrize("patient", [True, False], ids=["with the breaker", "with every request trying"])
async def test_no_request_fails_while_redis_is_killed_and_comes_back_with_another_password(
    own_redis: RedisServer, patient: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Patience enough for a loaded machine: a Redis that is gone refuses at once.
    monkeypatch.setattr(PATIENCE, 5.0)
    breaker = CircuitBreaker() if patient else CircuitBreaker(shortest=0.0, longest=0.0)
    redis = OwnRedisCache(own_redis.url, breaker=breaker)
    # The near level holds one entry, so that nearly every request asks Redis.
    cache = LayeredCache([MemoryCache(max_size=1, ttl=60), redis])
    requests = Requests(cache)
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            clients = [group.create_task(requests.client(number)) for number in range(REQUESTS_AT_ONCE)]
            await requests.some_more()
            assert redis.stats()["redis"].hits > 0
            await asyncio.to_thread(own_redis.kill)
            await requests.some_more()
            await asyncio.to_thread(own_redis.start, "another")
            await requests.some_more()
            assert not [client for client in clients if client.done()], "a request failed"
            requests.stop()
    await cache.close()
    assert requests.wrong == []
    assert redis.stats()["redis"].errors > 0
    assert "another" not in caplog.text


async def test_a_full_redis_still_gives_what_it_holds_and_is_told_once(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATIENCE, 5.0)
    redis = OwnRedisCache(own_redis.url)
    stream = QuestionStream(redis.server, namespace="shop", model="m", dimension=2, max_entries=10, ttl=60)
    await redis.set("kept", b"value")
    with Redis.from_url(own_redis.url) as administrator:
        administrator.config_set("maxmemory-policy", "noeviction")
        administrator.config_set("maxmemory", "1")
    for number in range(3):
        await redis.set(f"new-{number}", b"value")
        assert await redis.get("kept") == b"value"
    await stream.tell("a" * 64, "a question that is nobody's business", np.zeros(2, dtype=np.float32))
    assert await redis.get("kept") == b"value"
    assert redis.stats()["redis"].errors == 3
    assert [record.getMessage() for record in caplog.records if record.name == "sibyl_runtime.cache.redis_server"] == [
        "Redis refuses a command of the shared cache: command not allowed when used memory > 'maxmemory'."
    ]
    assert "nobody's business" not in caplog.text
    await redis.close()
