"""Values and verdicts of KPIs from what was counted."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sibyl_runtime.workspace import Kpi
from sibyl_runtime.workspace.kpis import Increase, Indicator, Totals, indicator_of, is_met, value_over

CALLS, COST, UNPRICED = "sibyl_mcp_tool_calls_total", "sibyl_llm_cost_usd_total", "sibyl_llm_unpriced_calls_total"
HITS, MISSES = "sibyl_cache_hits_total", "sibyl_cache_misses_total"
DURATION = "sibyl_mcp_tool_duration_seconds"
COUNTED = {
    (CALLS, "success"): 90.0,
    (CALLS, "error"): 2.0,
    (CALLS, "client_error"): 8.0,
    (COST, ""): 1.8,
    (UNPRICED, ""): 0.0,
    (HITS, ""): 30.0,
    (MISSES, ""): 10.0,
    ("cpu", ""): 2500.0,
    ("memory", ""): 4000.0,
}
BUCKETS = {0.5: 50.0, 1.0: 90.0, 3.0: 96.0, math.inf: 100.0}
INCREASE = Increase(Totals(COUNTED, {DURATION: BUCKETS}), 50.0)


def indicator(**kpi: Any) -> Indicator:
    return indicator_of(Kpi.model_validate({"target": 0.5, **kpi}))


@pytest.mark.parametrize(
    ("kpi", "value"),
    [
        ({"name": "p50_latency"}, 0.5),
        ({"name": "p95_latency"}, 1 + 2 * 5 / 6),
        ({"name": "p99_latency"}, 3.0),
        ({"name": "requests_per_second"}, 2.0),
        ({"name": "error_rate"}, 0.02),
        ({"name": "availability"}, 0.98),
        ({"name": "cache_hit_rate"}, 0.75),
        ({"name": "cost_per_query"}, 0.02),
        ({"name": "cpu_usage"}, 50.0),
        ({"name": "memory_usage"}, 80.0),
        ({"name": "spent", "metric": COST}, 1.8),
        ({"name": "spending", "metric": f"rate({COST}[1m])"}, 0.036),
    ],
)
def test_a_figure_is_computed_from_the_increase(kpi: dict[str, Any], value: float) -> None:
    assert value_over(indicator(**kpi).measure, INCREASE) == pytest.approx(value)


@pytest.mark.parametrize(
    "name", ["p95_latency", "error_rate", "availability", "cache_hit_rate", "cost_per_query", "cpu_usage"]
)
def test_what_was_not_counted_has_no_value(name: str) -> None:
    assert value_over(indicator(name=name).measure, Increase(Totals({(CALLS, "success"): 0.0}), 50.0)) is None


def test_no_traffic_is_a_rate_of_zero() -> None:
    quiet = Increase(Totals({(CALLS, "success"): 0.0}), 50.0)
    assert value_over(indicator(name="requests_per_second").measure, quiet) == 0


def test_a_cost_that_leaves_out_answers_is_not_told() -> None:
    unpriced = Increase(Totals({**COUNTED, (UNPRICED, ""): 1.0}), 50.0)
    assert value_over(indicator(name="cost_per_query").measure, unpriced) is None


@pytest.mark.parametrize(
    ("name", "target", "value", "met"),
    [
        ("error_rate", 0.01, 0.01, True),
        ("error_rate", 0.01, 0.011, False),
        ("availability", 0.999, 0.999, True),
        ("availability", 0.999, 0.9989, False),
        ("requests_per_second", 100, 120, True),
        ("cpu_usage", 70, 71, False),
    ],
)
def test_a_target_is_kept_on_its_better_side(name: str, target: float, value: float, met: bool) -> None:
    assert is_met(indicator(name=name, target=target), value) is met


@pytest.mark.parametrize(("percentile", "met"), [(0.96, True), (0.961, False)])
def test_a_percentile_is_judged_by_the_share_within_the_target(percentile: float, met: bool) -> None:
    found = indicator(name="latency", percentile=percentile, target=3.0)
    value = value_over(found.measure, INCREASE)
    assert value is not None
    # The histogram ends at 3 s, so that the value alone would look well.
    assert value <= 3.0
    assert is_met(found, value, INCREASE) is met
