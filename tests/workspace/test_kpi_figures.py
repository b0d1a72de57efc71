"""What each KPI of a document measures."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.workspace import latency_buckets
from sibyl_runtime.workspace.kpis import SERIES, Indicator, Percentile, Utilisation, indicator_of
from sibyl_runtime.workspace.kpis.figures import _BY_NAME, COUNTERS, DURATIONS, Growth, Measure, Rate, Ratio
from tests.workspace.documents import Path, changed, leaves, problems_of, valid

CALLS = "sibyl_mcp_tool_calls_total"
DURATION = "sibyl_mcp_tool_duration_seconds"

# The two lists of the documentation: the performance guide's, and the one of its chapter on observability.
GUIDE: list[dict[str, Any]] = [
    {"name": "p50_latency", "metric": DURATION, "target": 1.0, "percentile": 0.50},
    {"name": "p95_latency", "metric": DURATION, "target": 3.0, "percentile": 0.95},
    {"name": "p99_latency", "metric": DURATION, "target": 5.0, "percentile": 0.99},
    {"name": "requests_per_second", "metric": f"rate({CALLS}[1m])", "target": 100},
    {"name": "cpu_usage", "target": 70},
    {"name": "memory_usage", "target": 80},
    {"name": "cost_per_query", "target": 0.05},
    {"name": "response_time_p95", "threshold": 2.0, "window": "5m"},
    {"name": "availability", "target": 0.999, "window": "30d"},
    {"name": "error_rate", "threshold": 0.01, "window": "1h"},
    {"name": "llm_cost_per_query", "threshold": 0.05, "window": "1d"},
]


def document(*kpis: dict[str, Any]) -> dict[str, Any]:
    return {"observability": {"kpis": list(kpis)}}


def indicators(raw: dict[str, Any]) -> list[Indicator]:
    return [indicator_of(kpi) for kpi in valid(raw).kpis]


def measured(**kpi: Any) -> Indicator:
    (found,) = indicators(document({"name": "figure", "target": 0.5, **kpi}))
    return found


def test_every_kpi_of_the_documentation_is_measured() -> None:
    found = indicators(document(*GUIDE))
    assert [(one.name, one.window, one.higher_is_better) for one in found] == [
        ("p50_latency", 300, False),
        ("p95_latency", 300, False),
        ("p99_latency", 300, False),
        ("requests_per_second", 60, True),
        ("cpu_usage", 300, False),
        ("memory_usage", 300, False),
        ("cost_per_query", 300, False),
        ("response_time_p95", 300, False),
        ("availability", 30 * 86_400, True),
        ("error_rate", 3600, False),
        ("llm_cost_per_query", 86_400, False),
    ]
    assert found[7].measure == Percentile(DURATION, 0.95)


# Another valid value for each key.
OTHER: dict[str, list[Any]] = {
    "name": ["own_figure", "p90_latency"],
    "metric": ["sibyl_pipeline_duration_seconds", f"rate({CALLS}[2m])", "sibyl_tokens_used_total"],
    "target": [0.125],
    "threshold": [0.125],
    "percentile": [0.6],
    "window": ["7m"],
}


@pytest.mark.parametrize(("path", "value"), list(leaves(document(*GUIDE))), ids=str)
def test_changing_any_leaf_of_a_kpi_changes_what_is_measured(path: Path, value: Any) -> None:
    raw = document(*GUIDE)
    others = [changed(raw, path, other) for other in OTHER[str(path[-1])] if other != value]
    accepted = [other for other in others if problems_of(other) == []]
    assert accepted
    assert all(indicators(other) != indicators(raw) for other in accepted)


@pytest.mark.parametrize("key", ["window", "percentile"])
def test_adding_a_key_changes_what_is_measured(key: str) -> None:
    kpi = {"name": "p95_latency", "target": 3.0}
    assert indicators(document(kpi)) != indicators(document(kpi | {key: OTHER[key][0]}))


@pytest.mark.parametrize(
    ("kpi", "measure", "higher"),
    [
        ({"metric": DURATION, "percentile": 0.9}, Percentile(DURATION, 0.9), False),
        ({"percentile": 0.9}, Percentile(DURATION, 0.9), False),
        ({"name": "p999_latency"}, Percentile(DURATION, 0.999), False),
        ({"name": "p99_latency", "percentile": 0.9}, Percentile(DURATION, 0.9), False),
        ({"metric": f"rate( {CALLS} [5m] )"}, Rate(CALLS), True),
        ({"metric": "rate(sibyl_llm_cost_usd_total[1h])"}, Rate("sibyl_llm_cost_usd_total"), False),
        ({"metric": "sibyl_llm_cost_usd_total", "window": "1d"}, Growth("sibyl_llm_cost_usd_total"), False),
        ({"name": "requests_per_second", "metric": CALLS}, Rate(CALLS), True),
        ({"metric": "sibyl_requests_per_second"}, Rate("sibyl_mcp_requests_total"), True),
        ({"name": "cpu_usage"}, Utilisation("cpu"), False),
    ],
)
def test_a_kpi_is_found_by_metric_or_name(kpi: dict[str, Any], measure: Measure, higher: bool) -> None:
    found = measured(**kpi)
    assert (found.measure, found.higher_is_better) == (measure, higher)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("error_rate", "sibyl_mcp_tool_errors_total"),
        ("availability", CALLS),
        ("cache_hit_rate", "sibyl_cache_hits_total"),
        ("cost_per_query", "sibyl_llm_cost_usd_total"),
    ],
)
def test_a_metric_beside_the_name_of_a_ratio_made_from_it_means_the_ratio(name: str, metric: str) -> None:
    found = measured(name=name, metric=metric)
    assert isinstance(found.measure, Ratio)
    assert found == measured(name=name)


def test_a_window_beside_a_rate_may_repeat_its_own() -> None:
    assert measured(metric=f"rate({CALLS}[1m])", window="1m").window == 60


def test_every_figure_is_computed_from_series_that_are_collected() -> None:
    metrics = [*COUNTERS, *(f"rate({name}[1m])" for name in COUNTERS)]
    found = [measured(metric=metric) for metric in metrics]
    found += [measured(metric=metric, percentile=0.5) for metric in DURATIONS]
    found += [measured(name=name) for name in _BY_NAME]
    for indicator in found:
        assert indicator.series <= SERIES
        assert bool(indicator.series) is not isinstance(indicator.measure, Utilisation)


def test_only_durations_make_edges() -> None:
    made = set(latency_buckets(valid(document(*GUIDE)))) - set(latency_buckets(valid(document(GUIDE[4]))))
    assert made == {2.0, 3.0}


def test_more_kpis_than_a_status_can_show_are_refused() -> None:
    kpis = [{"name": f"p{share}_latency", "target": 1} for share in range(10, 43)]
    assert problems_of(document(*kpis)) == ["observability.kpis: must have at most 32 elements, found 33"]
