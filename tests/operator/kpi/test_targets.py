"""KPIs over all pods, from the real exposition of a runtime's counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sibyl_operator.kpi.counters import read_families
from sibyl_operator.kpi.targets import PodTotals, Targets, totals_of
from sibyl_operator.observed import TargetFacts
from sibyl_runtime.workspace import Kpi

LONG_AGO = 1.0
CALLS = "sibyl_mcp_tool_calls_total"


class Pod:
    """A process with real metrics; `edge` is a latency target of its configuration."""

    def __init__(self, *, started_at: float = LONG_AGO, edge: float = 1.0, cpu: float | None = None) -> None:
        registry = self.registry = CollectorRegistry()
        self.calls = Counter(CALLS, "c", ["tool", "status"], registry=registry)
        self.calls.labels("s", "success")
        self.seconds = Histogram(
            "sibyl_mcp_tool_duration_seconds", "d", ["tool"], buckets=(0.1, edge, 5.0), registry=registry
        )
        self.seconds.labels("s")
        Gauge("process_start_time_seconds", "s", registry=registry).set(started_at)
        if cpu is not None:
            Gauge("sibyl_kpi_value", "v", ["kpi"], registry=registry).labels("cpu_usage").set(cpu)

    def answer(self, times: int, seconds: float = 0.05, status: str = "success") -> None:
        for _ in range(times):
            self.calls.labels("s", status).inc()
            self.seconds.labels("s").observe(seconds)

    def scrape(self) -> PodTotals:
        return totals_of(read_families(generate_latest(self.registry).decode()))


class Service:
    """Pods by uid, scraped at times."""

    def __init__(self, *kpis: dict[str, Any], **pods: Pod) -> None:
        self.kpis = [Kpi.model_validate(kpi) for kpi in kpis]
        self.pods = dict(pods)
        self.targets = Targets()

    def look(self, at: float, *, silent: tuple[str, ...] = ()) -> dict[str, TargetFacts]:
        scrapes: Mapping[str, PodTotals] = {u: pod.scrape() for u, pod in self.pods.items() if u not in silent}
        return {facts.name: facts for facts in self.targets.measure(self.kpis, at, scrapes, set(self.pods))}


RATE = {"name": "requests_per_second", "metric": f"rate({CALLS}[1m])", "target": 1.5}


def test_rates_are_summed_and_percentiles_are_of_all_calls_together() -> None:
    fast, slow = Pod(), Pod()
    service = Service(
        RATE, {"name": "p95_latency", "target": 1.0}, {"name": "p50_latency", "target": 1.0}, a=fast, b=slow
    )
    assert service.look(1000)["requests_per_second"].value is None
    fast.answer(10)
    slow.answer(10, seconds=3.0)
    found = service.look(1010)
    assert found["requests_per_second"] == TargetFacts("requests_per_second", 1.5, 2.0, True)
    assert found["p50_latency"].value == pytest.approx(0.1)
    assert (found["p50_latency"].met, found["p95_latency"].met) == (True, False)
    assert found["p95_latency"].value == pytest.approx(1 + 4 * 9 / 10)


def test_ratios_are_of_all_calls_and_not_a_mean_of_pods() -> None:
    busy, idle = Pod(), Pod()
    service = Service({"name": "error_rate", "target": 0.1}, {"name": "availability", "target": 0.95}, a=busy, b=idle)
    service.look(1000)
    busy.answer(99)
    idle.answer(1, status="error")
    found = service.look(1010)
    assert found["error_rate"] == TargetFacts("error_rate", 0.1, 0.01, True, is_share=True)
    assert found["availability"].value == pytest.approx(0.99)


def test_use_of_processors_is_the_mean_of_what_the_pods_measured() -> None:
    service = Service({"name": "cpu_usage", "target": 70}, a=Pod(cpu=60.0), b=Pod(cpu=90.0), c=Pod())
    assert service.look(1000)["cpu_usage"] == TargetFacts("cpu_usage", 70, 75.0, False)


def test_without_traffic_there_is_a_rate_of_zero_and_no_ratio() -> None:
    service = Service(RATE, {"name": "error_rate", "target": 0.1}, a=Pod())
    service.look(1000)
    found = service.look(1015)
    assert (found["requests_per_second"].value, found["requests_per_second"].met) == (0.0, False)
    assert (found["error_rate"].value, found["error_rate"].met) == (None, None)


def test_a_window_passes_for_each_kpi_by_itself() -> None:
    pod = Pod()
    service = Service(RATE, {"name": "calls", "metric": CALLS, "target": 1, "window": "1h"}, a=pod)
    service.look(1000)
    pod.answer(30)
    assert service.look(1030)["requests_per_second"].value == 1.0
    for at in range(1045, 1120, 15):
        found = service.look(at)
    assert (found["requests_per_second"].value, found["calls"].value) == (0.0, 30.0)


def test_a_process_that_began_anew_loses_nothing() -> None:
    pod = Pod()
    service = Service({"name": "calls", "metric": CALLS, "target": 1}, a=pod)
    service.look(1000)
    pod.answer(5)
    service.look(1010)
    service.pods["a"] = Pod(started_at=1012.0)
    service.pods["a"].answer(7)
    assert service.look(1020)["calls"].value == 12


def test_pods_that_are_gone_keep_what_they_counted_and_new_ones_bring_all_that_they_have() -> None:
    old = Pod()
    service = Service({"name": "calls", "metric": CALLS, "target": 1}, a=old)
    service.look(1000)
    old.answer(5)
    service.look(1010)
    service.pods = {"b": Pod(started_at=1015.0)}
    service.pods["b"].answer(3)
    assert service.look(1020)["calls"].value == 8


def test_an_old_pod_that_is_silent_for_a_while_is_counted_once() -> None:
    pod = Pod(started_at=990.0)
    service = Service({"name": "calls", "metric": CALLS, "target": 1}, a=pod)
    pod.answer(5)
    assert service.look(1000)["calls"].value == 5
    service.look(1015, silent=("a",))
    pod.answer(2)
    assert service.look(1030)["calls"].value == 7


def test_an_operator_that_begins_late_takes_old_counts_as_the_baseline() -> None:
    pod = Pod()
    pod.answer(1000)
    service = Service(RATE, a=pod)
    service.look(1000)
    pod.answer(3)
    assert service.look(1003)["requests_per_second"].value == 1.0


def test_a_changed_target_is_judged_while_old_pods_still_have_other_edges() -> None:
    old, new = Pod(edge=1.0), Pod(edge=2.0)
    service = Service({"name": "p90_latency", "target": 2.0}, a=old, b=new)
    service.look(1000)
    old.answer(10)
    new.answer(10, seconds=1.5)
    assert service.look(1010)["p90_latency"].met is True
    old.answer(10, seconds=4.0)
    assert service.look(1020)["p90_latency"].met is False


def test_a_window_that_a_kpi_no_longer_asks_for_is_forgotten() -> None:
    service = Service(RATE, {"name": "calls", "metric": CALLS, "target": 1, "window": "1h"}, a=Pod())
    service.look(1000)
    assert set(service.targets._fleets) == {60.0, 3600.0}
    service.kpis = service.kpis[:1]
    assert list(service.look(1010)) == ["requests_per_second"]
    assert set(service.targets._fleets) == {60.0}
