"""Totals that are added, subtracted and kept for a window."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from sibyl_runtime.workspace.kpis import Buckets, History, Totals
from sibyl_runtime.workspace.kpis.counting import RESOLUTION

CALLS = "calls_total"
NAMES = frozenset({CALLS, "seconds_bucket"})
INF = math.inf


def calls(count: float) -> Totals:
    return Totals({(CALLS, ""): count})


def buckets(**edges: float) -> Totals:
    return Totals(histograms={"s": {float(edge[1:].replace("_", ".")): count for edge, count in edges.items()}})


def test_what_prometheus_client_exports_is_summed_over_all_labels_but_the_status() -> None:
    registry = CollectorRegistry()
    counter = Counter(CALLS, "c", ["tool", "status"], registry=registry)
    for tool, status, count in (("a", "success", 3), ("b", "success", 4), ("a", "error", 2)):
        counter.labels(tool, status).inc(count)
    seconds = Histogram("seconds", "s", ["tool"], buckets=(0.5, 1.0), registry=registry)
    seconds.labels("a").observe(0.2)
    seconds.labels("b").observe(0.7)
    Counter("other_total", "o", registry=registry).inc()
    found = Totals.of((sample for metric in registry.collect() for sample in metric.samples), NAMES)
    assert found == Totals({(CALLS, "success"): 7, (CALLS, "error"): 2}, {"seconds": {0.5: 1, 1.0: 2, INF: 2}})
    assert (found.count(CALLS), found.count(CALLS, "err"), found.count(CALLS, "none")) == (9, 2, 0)
    assert found.count("other_total") is None


def test_an_edge_that_one_side_lacks_counts_what_its_next_lower_edge_counts() -> None:
    old = buckets(e1=2, e5=6, einf=8)
    new = buckets(e1=1, e3=2, e5=4, einf=4)
    assert (old + new).histograms == {"s": {1.0: 3, 3.0: 4, 5.0: 10, INF: 12}}
    assert (new - buckets(e1=1, e5=1, einf=1)).histograms == {"s": {1.0: 0, 3.0: 1, 5.0: 3, INF: 3}}


EDGES = st.sets(st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.0, 5.0])).map(lambda edges: [*sorted(edges), INF])
STEPS = st.lists(st.integers(0, 50), min_size=7, max_size=7)


def cumulative(edges: list[float], steps: list[int]) -> Buckets:
    total, made = 0.0, {}
    for edge, step in zip(edges, steps, strict=False):
        total += step
        made[edge] = total
    return made


@given(EDGES, STEPS, EDGES, STEPS, st.sampled_from([1, -1]))
def test_a_combined_histogram_never_falls(
    one: list[float], steps: list[int], other: list[float], more: list[int], sign: int
) -> None:
    left = Totals(histograms={"s": cumulative(one, steps)})
    right = Totals(histograms={"s": cumulative(other, more)})
    made = (left + right if sign > 0 else left - right).histograms["s"]
    assert list(made) == sorted({*one, *other})
    assert list(made.values()) == sorted(made.values())
    assert min(made.values()) >= 0


def test_a_process_that_began_anew_is_noticed() -> None:
    assert calls(3).fell_below(calls(4))
    assert not calls(4).fell_below(calls(4))


def test_a_window_forgets_what_came_before_it() -> None:
    history = History(60)
    assert history.increase() is None
    for second in range(0, 301, 10):
        history.add(second, calls(second * 2))
    increase = history.increase()
    assert increase is not None
    assert (increase.totals.count(CALLS), increase.seconds) == (120, 60)


def test_a_window_that_is_not_full_tells_what_it_covers() -> None:
    history = History(3600)
    history.add(100, calls(5))
    assert history.increase() is None
    history.add(130, calls(8))
    increase = history.increase()
    assert increase is not None
    assert (increase.totals.count(CALLS), increase.seconds) == (3, 30)


@pytest.mark.parametrize("window", [60.0, 3600.0, 30 * 86_400.0])
def test_a_window_keeps_few_moments_and_is_hardly_too_long(window: float) -> None:
    history = History(window)
    step = window / 500
    for index in range(1500):
        history.add(index * step, calls(index))
    increase = history.increase()
    assert increase is not None
    assert window - step <= increase.seconds <= window * (1 + 2 / RESOLUTION)
    assert increase.totals.count(CALLS) == pytest.approx(increase.seconds / step)
    assert len(history._kept) <= RESOLUTION + 3


def test_a_counter_that_appears_late_counts_from_zero() -> None:
    history = History(60)
    history.add(0, Totals())
    history.add(10, calls(4))
    increase = history.increase()
    assert increase is not None
    assert increase.totals.count(CALLS) == 4
