"""Probes: answered from a thread, so that they tell the truth also of a stuck event loop."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sibyl_operator.process.health import Health, HealthServer, heartbeat
from sibyl_operator.process.metrics import OperatorMetrics
from tests.fakes.virtual_time import run_virtually


@dataclass
class Watch:
    """A monotonic clock that a test moves."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Served:
    """A running server and what it reports on."""

    health: Health
    watch: Watch
    base: str

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.base}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def served() -> Iterator[Served]:
    watch = Watch()
    health = Health(seconds=watch)
    with HealthServer("127.0.0.1", 0, health, OperatorMetrics().exposition) as server:
        yield Served(health, watch, "http://{}:{}".format(*server.address))


def test_liveness_fails_when_a_loop_has_not_beaten_for_a_minute(served: Served) -> None:
    served.health.beat("main")
    served.health.beat("watcher")
    served.watch.seconds = 60
    assert served.get("/healthz") == (200, "ok\n")
    served.watch.seconds = 61
    served.health.beat("watcher")
    assert served.get("/healthz") == (503, "stuck: main\n")
    served.health.beat("main")
    assert served.get("/healthz") == (200, "ok\n")


@pytest.mark.parametrize(
    ("state", "status"),
    [("starting", 503), ("standby", 200), ("syncing", 503), ("leading", 200), ("stopping", 503)],
)
def test_ready_is_who_leads_with_full_caches_or_stands_by(served: Served, state: str, status: int) -> None:
    served.health.become(state)
    assert served.get("/readyz") == (status, f"{state}\n")


def test_metrics_are_served_and_other_paths_are_told(served: Served) -> None:
    status, body = served.get("/metrics?x=1")
    assert (status, "sibyl_build_info{" in body) == (200, True)
    assert served.get("/")[0] == 404
    assert "/healthz, /readyz, /metrics" in served.get("/nothing")[1]


def test_the_heart_beats_on_time_and_the_lag_is_told() -> None:
    async def scenario() -> list[float]:
        health, lags = Health(seconds=asyncio.get_running_loop().time, stale=8), list[float]()
        beat = asyncio.create_task(heartbeat(health, "main", lags.append, every=5))
        await asyncio.sleep(26)
        assert health.stuck() == ()
        beat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beat
        await asyncio.sleep(10)
        assert health.stuck() == ("main",)
        return lags

    assert run_virtually(scenario()) == [0.0] * 5
