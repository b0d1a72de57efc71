from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.protocol import LevelStats
from sibyl_runtime.cache.question_stream import QuestionStream
from sibyl_runtime.cache.redis import RedisCache
from sibyl_runtime.cache.redis_server import MOST_CONNECTIONS, TIMEOUT
from sibyl_runtime.cache.redis_server import RedisServer as SharedServer
from sibyl_runtime.errors import StartupError
from tests.support.caches import PATIENCE, OwnRedisCache
from tests.support.redis_server import RedisServer


@pytest.fixture
async def cache(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OwnRedisCache]:
    """Over a real Redis, with patience enough for a loaded machine."""
    monkeypatch.setattr(PATIENCE, 5.0)
    opened = OwnRedisCache(redis_url, jitter=lambda ttl: ttl)
    yield opened
    await opened.close()


async def test_a_value_is_kept_for_its_time_under_the_workspaces_name(cache: OwnRedisCache, redis_url: str) -> None:
    assert await cache.get("k") is None
    await cache.set("k", b"\x00binary\xff")
    assert await cache.get("k") == b"\x00binary\xff"
    assert cache.stats() == {"redis": LevelStats(hits=1, misses=1, errors=0)}
    with Redis.from_url(redis_url) as client:
        assert client.keys() == [b"sibyl:shop:answer:k"]
        assert 59_000 < int(str(client.pttl("sibyl:shop:answer:k"))) <= 60_000


async def test_workspaces_do_not_share_answers(cache: OwnRedisCache, redis_url: str) -> None:
    other = OwnRedisCache(redis_url, namespace="other")
    await cache.set("k", b"1")
    assert await other.get("k") is None
    await other.close()


@pytest.mark.parametrize("foreign", [b"", b"short", b"x" * 40])
async def test_a_value_that_was_not_written_for_this_key_is_a_miss(
    cache: OwnRedisCache, redis_url: str, foreign: bytes
) -> None:
    with Redis.from_url(redis_url) as client:
        client.set("sibyl:shop:answer:k", foreign)
        assert await cache.get("k") is None
        await cache.set("one", b"value of one")
        client.rename("sibyl:shop:answer:one", "sibyl:shop:answer:two")
    assert await cache.get("two") is None


async def test_cancelled_requests_never_leave_their_answer_to_the_next(cache: OwnRedisCache) -> None:
    for number in range(20):
        await cache.set(str(number), str(number).encode())
    for round_ in range(20):
        reads = [asyncio.create_task(cache.get(str(number))) for number in range(20)]
        for _ in range(round_):
            await asyncio.sleep(0)
        for read in reads[::2]:
            read.cancel()
        values = await asyncio.gather(*reads, return_exceptions=True)
        for number, value in enumerate(values):
            assert isinstance(value, asyncio.CancelledError) or value in (None, str(number).encode())
    assert [await cache.get(str(number)) for number in range(20)] == [str(number).encode() for number in range(20)]


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that the test may stop."""
    server = RedisServer()
    yield server
    server.close()


async def test_redis_down_is_a_miss_told_once_and_its_return_is_noticed(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATIENCE, 5.0)
    clock = _Clock()
    cache = OwnRedisCache(own_redis.url, breaker=CircuitBreaker(clock=clock))
    await cache.set("k", b"1")
    own_redis.stop()
    with caplog.at_level(logging.INFO, logger="sibyl_runtime.cache.redis_server"):
        for _ in range(10):
            assert await cache.get("k") is None
            await cache.set("k", b"1")
        clock.now += 1
        assert await cache.get("k") is None
        own_redis.start()
        assert await cache.get("k") is None
        clock.now += 2
        await cache.set("k", b"2")
        assert await cache.get("k") == b"2"
    await cache.close()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]
    assert cache.stats()["redis"].errors == 2


async def test_redis_down_from_the_start_is_no_error() -> None:
    cache = OwnRedisCache("redis://127.0.0.1:1/0")
    await cache.set("k", b"1")
    assert await cache.get("k") is None
    await cache.close()


@contextlib.asynccontextmanager
async def _silent_server() -> AsyncIterator[tuple[str, list[str]]]:
    """Accepts, reads, and never answers; its URL, and one entry per connection that it got."""
    connections: list[str] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append("opened")
        while await reader.read(1024):
            pass
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", connections


async def test_a_redis_that_never_answers_costs_one_timeout_and_then_nothing() -> None:
    async with _silent_server() as (url, connections):
        cache = OwnRedisCache(url)
        started = time.monotonic()
        assert await cache.get("k") is None
        elapsed = time.monotonic() - started
        for _ in range(10):
            await cache.set("k", b"1")
            assert await cache.get("k") is None
        await cache.close()
    assert connections == ["opened"]
    assert cache.stats()["redis"].errors == 1
    # 40 ms by itself; the rest is for a busy machine.
    assert TIMEOUT <= 0.05
    assert elapsed < TIMEOUT + 0.5


async def test_a_wrong_password_is_a_miss_and_stays_out_of_the_log(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATIENCE, 5.0)
    with Redis.from_url(own_redis.url) as client:
        client.config_set("requirepass", "right")
    cache = OwnRedisCache(own_redis.url.replace("127.0.0.1", ":s3cret@127.0.0.1"))
    assert await cache.get("k") is None
    await cache.close()
    assert "Redis does not answer" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("url", ["localhost:6379", "http://:s3cret@host", "redis://:s3cret@host:port/0", ""])
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StartupError, match=r"caching\.redis\.url` is not a Redis URL") as refused:
        OwnRedisCache(url)
    assert "s3cret" not in str(refused.value)


async def test_all_kinds_share_one_pool_and_pay_for_a_bad_redis_once(redis_url: str) -> None:
    async with _silent_server() as (url, connections):
        server = SharedServer(url)
        kinds = [RedisCache(server, namespace="shop", kind=kind, ttl=60) for kind in ("answer", "embedding", "chunks")]
        stream = QuestionStream(server, namespace="shop", model="m", dimension=3, max_entries=10, ttl=60)
        for kind in kinds:
            assert await kind.get("k") is None
        assert await stream.news() == []
        await server.close()
    assert connections == ["opened"]
    assert [kind.stats()["redis"].errors for kind in kinds] == [1, 0, 0]
    server = SharedServer(redis_url)
    async with asyncio.timeout(30):
        kinds = [RedisCache(server, namespace="shop", kind=kind, ttl=60) for kind in ("answer", "embedding", "chunks")]
        await asyncio.gather(*(kind.get(str(number)) for kind in kinds for number in range(100)))
    with Redis.from_url(redis_url) as client:
        assert len(client.client_list()) <= MOST_CONNECTIONS + 1
    await server.close()


@contextlib.asynccontextmanager
async def _distant(port: int, seconds: float) -> AsyncIterator[str]:
    """The URL of a Redis that is so many seconds away."""
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65_536):
            loop.call_later(seconds, writer.write, data)

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))
        finally:
            for each in (writer, there_writer):
                each.close()

    def started(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(joined(reader, writer)))

    server = await asyncio.start_server(started, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_redis_that_is_far_away_is_used_once_its_connection_is_open(own_redis: RedisServer) -> None:
    """To open one takes several round trips, more than a command may take; the first command is a miss."""
    clock = _Clock()
    async with _distant(own_redis.port, 0.008) as url:
        cache = OwnRedisCache(url, breaker=CircuitBreaker(clock=clock))
        for _ in range(50):
            clock.now += 60
            await cache.set("k", b"1")
            if await cache.get("k") == b"1":
                break
        assert cache.stats()["redis"].hits == 1
        await cache.close()


async def test_a_bypassed_redis_is_told_to_the_health_and_its_refusals_too(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATIENCE, 5.0)
    clock = _Clock()
    server = SharedServer(own_redis.url, breaker=CircuitBreaker(clock=clock), clock=clock)
    cache = RedisCache(server, namespace="shop", kind="answer", ttl=60)
    await cache.set("k", b"1")
    assert server.trouble is None
    with Redis.from_url(own_redis.url) as administrator:
        administrator.config_set("maxmemory", "1")
    await cache.set("l", b"1")
    assert server.trouble == "Redis refuses a command: command not allowed when used memory > 'maxmemory'."
    clock.now += 601
    assert server.trouble is None
    await asyncio.to_thread(own_redis.stop)
    await cache.get("k")
    assert str(server.trouble).startswith("Redis is passed by for a while: ")
    await server.close()
