"""KPIs measured by a process from its own counters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import generate_latest

from sibyl_runtime.kpi import RuntimeMetrics, sampling
from sibyl_runtime.kpi.indicators import Indicators
from sibyl_runtime.kpi.resources import Limits, ProcessUse
from sibyl_runtime.server.instrumentation import metrics_for
from sibyl_runtime.workspace import parse_workspace

TOOL = "search_documents"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class SteadyUse(ProcessUse):
    """Uses a part of what it may, as a test says."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Limits(1.0, 1.0))
        self._clock = clock
        self.percent = 0.0

    def processor(self) -> float:
        return 40 * self._clock.now

    def memory(self) -> float:
        return self.percent


@pytest.fixture
def clock() -> Clock:
    return Clock()


def metrics(*kpis: dict[str, Any]) -> RuntimeMetrics:
    """Counters of a workspace with a cache and a language model."""
    caching = {"enabled": True, "memory": {}}
    return metrics_for(
        parse_workspace(
            {
                "observability": {"kpis": list(kpis)},
                "shops": {"infrastructure": {"config": {"caching": caching}}},
            }
        )
    )


def indicators(clock: Clock, found: RuntimeMetrics, *kpis: dict[str, Any]) -> Indicators:
    """The KPIs over those counters, with the clock of the test."""
    written = parse_workspace({"observability": {"kpis": list(kpis)}}).kpis
    found.registry.unregister(found.indicators)
    return Indicators(written, found.registry, SteadyUse(clock), clock=clock)


def values(of: Indicators) -> dict[str, tuple[float | None, bool | None]]:
    return {reading.indicator.name: (reading.value, reading.met) for reading in of.readings()}


def test_every_kind_of_figure_is_measured_from_real_counters(clock: Clock) -> None:
    kpis: tuple[dict[str, Any], ...] = (
        {"name": "p95_latency", "target": 0.3},
        {"name": "requests_per_second", "metric": "rate(sibyl_mcp_tool_calls_total[1m])", "target": 0.5},
        {"name": "error_rate", "threshold": 0.1},
        {"name": "availability", "target": 0.9},
        {"name": "cache_hit_rate", "target": 0.7},
        {"name": "cost_per_query", "target": 0.05},
        {"name": "cpu_usage", "target": 70},
        {"name": "tokens", "metric": "sibyl_tokens_used_total", "target": 100},
    )
    counted = metrics()
    found = indicators(clock, counted, *kpis)
    for _ in range(8):
        counted.tools.answered(TOOL, 0.2, 10)
    for _ in range(2):
        counted.tools.failed(TOOL, "provider_error", 502, 0.2)
    assert counted.caches is not None
    for hit in (True, True, False):
        counted.caches.hit("answer") if hit else counted.caches.missed()
    counted.models.used("default", "extractive", prompt=1, completion=1, cost_usd=None)
    clock.now += 10
    assert values(found) == {
        "p95_latency": (pytest.approx(0.2425), True),
        "requests_per_second": (1.0, True),
        "error_rate": (0.2, False),
        "availability": (0.8, False),
        "cache_hit_rate": (pytest.approx(2 / 3), False),
        "cost_per_query": (None, None),
        "cpu_usage": (40.0, True),
        "tokens": (80.0, True),
    }


def test_a_window_passes(clock: Clock) -> None:
    counted = metrics()
    found = indicators(clock, counted, {"name": "short", "metric": "rate(sibyl_mcp_tool_calls_total[1m])", "target": 1},
                       {"name": "long", "metric": "rate(sibyl_mcp_tool_calls_total[10m])", "target": 1})  # fmt: skip
    counted.tools.answered(TOOL, 0.1, 0)
    for _ in range(70):
        clock.now += 1
        found.sample()
    readings = {reading.indicator.name: reading for reading in found.readings()}
    assert (readings["short"].value, readings["short"].measured_seconds) == (0.0, 60.0)
    assert readings["long"].value == pytest.approx(1 / 70)
    assert readings["long"].measured_seconds == 70.0


def test_memory_is_the_mean_over_the_window(clock: Clock) -> None:
    counted = metrics()
    counted.registry.unregister(counted.indicators)
    use = SteadyUse(clock)
    written = parse_workspace({"observability": {"kpis": [{"name": "memory_usage", "target": 50}]}}).kpis
    found = Indicators(written, counted.registry, use, clock=clock)
    for percent in (20.0, 60.0, 70.0):
        use.percent = percent
        clock.now += 10
        found.sample()
    assert values(found) == {"memory_usage": (50.0, True)}


def test_target_value_and_verdict_are_exported_and_what_is_not_known_is_left_out() -> None:
    counted = metrics({"name": "error_rate", "threshold": 0.1}, {"name": "requests_per_second", "target": 5000})
    text = generate_latest(counted.registry).decode()
    assert 'sibyl_kpi_target{kpi="error_rate"} 0.1' in text
    assert 'sibyl_kpi_value{kpi="error_rate"}' not in text
    assert 'sibyl_kpi_met{kpi="error_rate"}' not in text
    counted.tools.answered(TOOL, 0.1, 0)
    text = generate_latest(counted.registry).decode()
    assert 'sibyl_kpi_value{kpi="error_rate"} 0.0' in text
    assert 'sibyl_kpi_met{kpi="error_rate"} 1.0' in text
    assert 'sibyl_kpi_met{kpi="requests_per_second"} 0.0' in text


@pytest.mark.parametrize(("window", "interval"), [("10s", 1.0), ("5m", 5.0), ("30d", 60.0)])
def test_the_shortest_window_sets_the_pace(window: str, interval: float) -> None:
    kpis = [
        {"name": "error_rate", "target": 0.1, "window": window},
        {"name": "availability", "target": 0.9, "window": "60d"},
    ]
    assert metrics(*kpis).indicators.interval == interval


async def test_samples_are_taken_until_the_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = indicators(clock, metrics(), {"name": "error_rate", "target": 0.1})
    taken, enough = [], asyncio.Event()

    def sample() -> None:
        taken.append(clock.now)
        if len(taken) == 3:
            enough.set()

    monkeypatch.setattr(found, "sample", sample)
    monkeypatch.setattr(Indicators, "interval", 0.001)
    async with sampling(found):
        await asyncio.wait_for(enough.wait(), 5)
    count = len(taken)
    await asyncio.sleep(0)
    assert len(taken) == count >= 3
