"""The indicators over a sliding window of scrapes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_operator.kpi.counters import PodCounters
from sibyl_operator.kpi.quantile import merge, quantile
from sibyl_operator.kpi.window import KpiWindow, Scrape
from sibyl_operator.observed import KpiFacts


def counters(
    calls: float, *, slow: float = 0, errors: float = 0, hits: float = 0, started_at: float = 0
) -> PodCounters:
    """`calls` of which `slow` took between 1 and 3 seconds and the others less than one."""
    durations = {1.0: calls - slow, 3.0: calls, math.inf: calls}
    return PodCounters(durations, calls, errors, hits, calls - hits, started_at)


def indicators(*scrapes: tuple[str, float, PodCounters], seconds: float = 300) -> KpiFacts | None:
    window = KpiWindow(seconds)
    for pod, at, counted in scrapes:
        window.add(pod, Scrape(at, counted))
    return window.indicators(pods_scraped=1, pods_expected=1)


def test_nothing_is_claimed_before_anything_was_measured() -> None:
    assert KpiWindow(300).indicators(pods_scraped=0, pods_expected=3) is None


def test_one_scrape_of_an_old_process_tells_nothing_yet() -> None:
    assert indicators(("a", 10_000, counters(5_000))) is None


def test_one_scrape_of_a_process_that_began_within_the_window_counts_whole() -> None:
    facts = indicators(("a", 10_000, counters(200, started_at=9_900)))
    assert facts is not None
    assert facts.requests_per_second == pytest.approx(2.0)


def test_zero_traffic_is_a_measured_zero() -> None:
    facts = indicators(("a", 10_000, counters(50)), ("a", 10_100, counters(50)))
    assert facts is not None
    assert (facts.requests_per_second, facts.p95, facts.error_ratio) == (0.0, None, None)


def test_only_what_was_counted_within_the_window_counts() -> None:
    facts = indicators(
        ("a", 10_000, counters(100, slow=100)),
        ("a", 10_400, counters(300, slow=100)),
        ("a", 10_700, counters(300, slow=100)),
    )
    assert facts is not None
    assert facts.requests_per_second == 0


def test_a_restart_does_not_lose_what_was_counted_after_it() -> None:
    facts = indicators(
        ("a", 10_000, counters(100, started_at=1)),
        ("a", 10_100, counters(160, started_at=1)),
        ("a", 10_200, counters(40, started_at=10_150)),
    )
    assert facts is not None
    assert facts.requests_per_second == pytest.approx((60 + 40) / 200)


def test_pods_add_up() -> None:
    facts = indicators(
        ("a", 10_000, counters(0)),
        ("b", 10_000, counters(0)),
        ("a", 10_100, counters(90, errors=9, hits=45)),
        ("b", 10_100, counters(10, errors=1, hits=5, slow=10)),
    )
    assert facts is not None
    assert facts.requests_per_second == pytest.approx(1.0)
    assert facts.error_ratio == pytest.approx(0.10)
    assert facts.cache_hit_ratio == pytest.approx(0.5)
    assert facts.p95 == pytest.approx(2.0)


def test_a_pod_that_is_gone_leaves_the_window_with_its_last_scrape() -> None:
    window = KpiWindow(300)
    window.add("gone", Scrape(10_000, counters(0)))
    window.add("gone", Scrape(10_010, counters(100)))
    window.add("here", Scrape(10_400, counters(0)))
    window.add("here", Scrape(10_410, counters(0)))
    facts = window.indicators(pods_scraped=1, pods_expected=1)
    assert facts is not None
    assert facts.requests_per_second == 0


@pytest.mark.parametrize(
    ("buckets", "q", "expected"),
    [
        ({}, 0.5, None),
        ({1.0: 0, math.inf: 0}, 0.5, None),
        ({1.0: 10, math.inf: 10}, 0.5, 0.5),
        ({1.0: 0, 2.0: 10, math.inf: 10}, 0.5, 1.5),
        ({1.0: 0, 2.0: 0, math.inf: 10}, 0.5, 2.0),
        ({0.5: 95, 3.0: 100, math.inf: 100}, 0.95, 0.5),
    ],
)
def test_quantiles_are_linear_within_their_bucket(
    buckets: dict[float, float], q: float, expected: float | None
) -> None:
    assert quantile(buckets, q) == expected


@given(st.lists(st.floats(0.0, 9.9), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], q: float) -> None:
    edges = [1.0, 2.0, 5.0, 10.0]
    buckets = {edge: float(sum(v <= edge for v in values)) for edge in edges} | {math.inf: float(len(values))}
    true = sorted(values)[math.ceil(q * len(values)) - 1]
    found = quantile(buckets, q)
    assert found is not None
    upper = next(edge for edge in edges if true <= edge)
    lower = max([0.0, *(edge for edge in edges if edge < upper)])
    assert lower <= found <= upper


def test_histograms_of_different_edges_merge_on_the_shared_ones() -> None:
    assert merge([{1.0: 1, 3.0: 2, math.inf: 2}, {1.0: 1, 2.0: 1, math.inf: 4}]) == {1.0: 2, math.inf: 6}
