"""Health is what the parts say, soon, and not more often than once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sibyl_runtime import health
from sibyl_runtime.errors import CacheUnreachable, DatabaseUnavailable
from sibyl_runtime.health import HealthChecks, RedisPing, overall
from sibyl_runtime.parts import redis_ping
from sibyl_runtime.workspace import parse_workspace
from tests.support.redis_server import RedisServer


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


async def fine() -> Mapping[str, Any]:
    return {"documents": 3}


async def gone() -> Mapping[str, Any]:
    raise DatabaseUnavailable("cannot reach db:5432")


async def off() -> Mapping[str, Any]:
    return {"status": "disabled"}


async def test_each_check_tells_its_status_latency_and_details() -> None:
    results = await HealthChecks({"a": fine, "b": gone, "c": off}, clock=Clock()).results()
    assert results == {
        "a": {"status": "healthy", "latency_ms": 0.0, "details": {"documents": 3}},
        "b": {
            "status": "unhealthy",
            "latency_ms": 0.0,
            "details": {"error": "cannot reach db:5432", "code": "database_unavailable"},
        },
        "c": {"status": "disabled", "latency_ms": 0.0, "details": {}},
    }
    assert overall(results) == "degraded"
    assert overall({"a": results["a"], "c": results["c"]}) == "healthy"


async def test_a_part_that_hangs_is_unhealthy_soon_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)

    async def hangs() -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    results = await HealthChecks({"slow": hangs, "fine": fine}).results()
    assert results["slow"]["status"] == "unhealthy"
    assert results["slow"]["details"] == {"error": "no answer within 0.05 s"}
    assert results["fine"]["status"] == "healthy"


async def test_a_result_is_kept_for_a_second_whoever_asks() -> None:
    clock, asked = Clock(), 0

    async def counted() -> Mapping[str, Any]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {}

    checks = HealthChecks({"a": counted}, clock=clock)
    await asyncio.gather(checks.results(), checks.results(), checks.results())
    clock.now += 1.0
    await checks.results()
    assert asked == 1
    clock.now += 0.1
    await checks.results()
    assert asked == 2


async def test_a_redis_is_asked_itself() -> None:
    server = RedisServer()
    ping = RedisPing(server.url)
    try:
        await ping()
        server.stop()
        with pytest.raises(CacheUnreachable, match="Redis does not answer, answers are not shared: "):
            await ping()
        server.start()
        await ping()
    finally:
        await ping.close()
        server.close()


@pytest.mark.parametrize(
    ("caching", "asked"),
    [
        ({"redis": {"url": "redis://cache"}}, True),
        ({"redis": {"url": "redis://cache"}, "cache_generations": False, "cache_embeddings": True}, True),
        ({"disk": {}}, False),
        ({"redis": {"url": "redis://cache", "enabled": False}}, False),
    ],
)
async def test_a_redis_is_asked_whatever_is_kept_there(caching: dict[str, Any], asked: bool) -> None:
    ping = redis_ping(parse_workspace({"shops": {"infrastructure": {"config": {"caching": caching}}}}))
    assert (ping is not None) == asked
    if ping is not None:
        await ping.close()
