"""The status: complete, rounded, and equal when nothing that matters has changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from sibyl_operator.api.conditions import conditions, invalid_conditions
from sibyl_operator.api.crd import resource_schema
from sibyl_operator.api.resource import InvalidResource, read_resource
from sibyl_operator.api.status import invalid_status, seconds_text, status
from sibyl_operator.api.status_targets import significant
from sibyl_operator.api.structure import prune
from sibyl_operator.observed import Observed
from tests.operator.api.facts import DATABASE, KPIS, body, children, observed, pod, resource, valid

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SCHEMA = resource_schema()["properties"]["status"]


def written(of: Observed, now: datetime = NOW) -> dict[str, Any]:
    return status(of, conditions(of), now)


def with_previous(of: Observed, previous: dict[str, Any]) -> Observed:
    return replace(of, resource=replace(of.resource, previous_status=previous))


def test_the_whole_status_of_a_service_that_is_well() -> None:
    of = observed(config_hash="v1-abc", pods=(pod("a", "v1-abc"), pod("b", "v1-abc")))
    found = written(of)
    assert {condition["type"]: condition["status"] for condition in found.pop("conditions")} == {
        kind: "True" for kind in ("ConfigValid", "DatabaseReady", "RuntimeReady", "ConfigApplied", "Ready")
    }
    assert found == {
        "observedGeneration": 3,
        "endpoints": {
            "http": "http://docs-runtime.team.svc:8000",
            "mcp": "http://docs-runtime.team.svc:8000/mcp/tools",
            "metrics": "http://docs-runtime.team.svc:9090/metrics",
        },
        "effectiveConfigHash": "v1-abc",
        "replicas": {"ready": 2, "desired": 2, "text": "2/2"},
        "kpis": {
            "p50": "0.12s",
            "p95": "0.41s",
            "p99": "1.3s",
            "requestsPerSecond": "13",
            "cacheHitPercent": 64,
            "errorPercent": 0,
            "podsScraped": "2/2",
            "windowSeconds": 300,
            "targets": [
                {"name": "p95_latency", "target": "3", "value": "0.41", "met": True},
                {"name": "availability", "target": "0.999", "value": "0.9962", "met": False},
                {"name": "cost_per_query", "target": "0.05"},
            ],
        },
        "database": {"version": "17.2", "vectorVersion": "0.8.5", "maxConnections": 100},
    }


def test_a_condition_is_one_of_metav1() -> None:
    (first, *_) = written(observed())["conditions"]
    assert first == {
        "type": "ConfigValid",
        "status": "True",
        "reason": "Valid",
        "message": "spec is valid",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        "observedGeneration": 3,
    }


STATES = [
    observed(),
    observed(pods=(), kpis=None, database=None, children={}),
    observed(resource(suspend=True)),
    observed(database=replace(DATABASE, vector_version="0.7.0")),
    observed(children=children(resource(), available=0)),
]


@pytest.mark.parametrize("of", STATES)
def test_every_status_fits_the_schema_of_the_crd(of: Observed) -> None:
    found = written(of)
    assert prune(SCHEMA, found) == (found, ())
    assert list(Draft4Validator(SCHEMA).iter_errors(found)) == []


@pytest.mark.parametrize("of", STATES)
def test_the_same_facts_an_hour_later_give_the_same_status(of: Observed) -> None:
    first = written(of)
    assert written(with_previous(of, first), LATER) == first


def test_a_transition_time_moves_only_when_the_status_of_the_condition_does() -> None:
    good = observed()
    first = written(good)
    bad = with_previous(replace(good, database=None), first)
    second = {c["type"]: c for c in written(bad, LATER)["conditions"]}
    assert second["DatabaseReady"]["lastTransitionTime"] == "2026-01-02T04:04:05Z"
    assert second["ConfigApplied"]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_a_new_generation_is_observed_without_a_transition() -> None:
    good = observed()
    newer = replace(good, resource=replace(good.resource, generation=4, previous_status=written(good)))
    found = written(newer, LATER)
    assert found["observedGeneration"] == 4
    assert {c["observedGeneration"] for c in found["conditions"]} == {4}
    assert {c["lastTransitionTime"] for c in found["conditions"]} == {"2026-01-02T03:04:05Z"}


def test_times_are_in_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5)))
    assert written(observed(), east) == written(observed(), NOW)


def test_what_is_not_known_is_left_out() -> None:
    found = written(observed(pods=(), kpis=None, database=None, children={}))
    assert found.keys() == {"observedGeneration", "conditions", "effectiveConfigHash"}


def test_a_service_without_traffic_has_no_latency_and_no_hits() -> None:
    quiet = replace(
        KPIS, p50=None, p95=None, p99=None, requests_per_second=0.0, error_ratio=None, cache_hit_ratio=None, targets=()
    )
    assert written(observed(kpis=quiet))["kpis"] == {
        "requestsPerSecond": "0",
        "podsScraped": "2/2",
        "windowSeconds": 300,
    }


def test_a_database_that_is_away_keeps_its_version() -> None:
    good = observed()
    away = with_previous(replace(good, database=replace(DATABASE, reachable=False, error="gone")), written(good))
    assert written(away)["database"] == written(good)["database"]


@pytest.mark.parametrize(
    "previous",
    [
        {"conditions": None},
        {"conditions": ["text"]},
        {"conditions": [{"type": "Ready", "status": "True"}]},
        {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": 5}]},
        {"database": "text"},
        {"kpis": {"p95": 5}},
    ],
)
def test_a_previous_status_of_any_shape_is_read(previous: dict[str, Any]) -> None:
    of = with_previous(observed(database=None), previous)
    assert written(of)["observedGeneration"] == 3


def test_ports_of_the_document_are_those_of_the_endpoints() -> None:
    document = {"mcp": {"port": 8080}, "observability": {"metrics": {"port": 9191}}}
    found = written(observed(resource(workspace=document)))["endpoints"]
    assert found["http"] == "http://docs-runtime.team.svc:8080"
    assert found["metrics"] == "http://docs-runtime.team.svc:9191/metrics"


def test_an_invalid_workspace_keeps_what_is_known_of_the_running_service() -> None:
    manifest = body(database={"provider": "External"})
    manifest["metadata"]["generation"] = 4
    manifest["status"] = {**written(observed()), "unknown": 1}
    found = read_resource(manifest)
    assert isinstance(found, InvalidResource)
    result = invalid_status(found, invalid_conditions(found), LATER)
    assert result["observedGeneration"] == 4
    assert result["endpoints"]["http"] == "http://docs-runtime.team.svc:8000"
    assert result["kpis"]["p95"] == "0.41s"
    assert "unknown" not in result
    assert {c["type"]: c["status"] for c in result["conditions"]}["Ready"] == "False"
    manifest["status"] = result
    again = read_resource(manifest)
    assert isinstance(again, InvalidResource)
    assert invalid_status(again, invalid_conditions(again), LATER + timedelta(hours=1)) == result


def test_a_valid_resource_carries_its_status_into_the_next() -> None:
    manifest = body()
    first = written(observed())
    manifest["status"] = first
    assert written(observed(valid(manifest)), LATER) == first


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.00417, "0.0042"), (0.0999, "0.10"), (0.41, "0.41"), (1.0, "1.0"), (9.96, "10"), (12.84, "13"),
        (99.5, "100"), (128.4, "130"), (12_345.0, "12000"),
    ],
)  # fmt: skip
def test_figures_have_two_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


@given(st.floats(1e-6, 1e6))
def test_a_figure_is_within_five_percent_of_what_was_measured_and_short(value: float) -> None:
    text = significant(value)
    assert abs(float(text) - value) <= value * 0.05 + 1e-12
    assert len(text) <= 10
    assert "e" not in text.lower()


def test_no_latency_is_no_text() -> None:
    assert seconds_text(None) is None
    assert seconds_text(0.4149) == "0.41s"


@pytest.mark.parametrize(("ratio", "percent"), [(0.0, 0), (0.004, 0), (0.637, 64), (1.0, 100), (1.02, 100)])
def test_shares_are_whole_percents(ratio: float, percent: int) -> None:
    found = written(observed(kpis=replace(KPIS, cache_hit_ratio=ratio, error_ratio=ratio)))["kpis"]
    assert (found["cacheHitPercent"], found["errorPercent"]) == (percent, percent)
