"""Reading what a runtime exports: the real exposition text of prometheus_client, not a copy of it."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from sibyl_operator.kpi.counters import ExpositionError, read_counters


def test_tools_and_caches_are_summed() -> None:
    registry = CollectorRegistry()
    calls = Counter("sibyl_mcp_tool_calls_total", "Calls", ["tool", "status"], registry=registry)
    calls.labels("search", "success").inc(7)
    calls.labels("search", "error").inc(2)
    calls.labels("ask", "success").inc(1)
    calls.labels("ask", "client_error").inc(5)
    durations = Histogram("sibyl_mcp_tool_duration_seconds", "D", ["tool"], buckets=(0.5, 1.0), registry=registry)
    durations.labels("search").observe(0.2)
    durations.labels("ask").observe(0.7)
    durations.labels("ask").observe(9)
    hits = Counter("sibyl_cache_hits_total", "H", ["cache"], registry=registry)
    hits.labels("memory").inc(3)
    hits.labels("redis").inc(1)

    found = read_counters(generate_latest(registry).decode())

    assert found.durations == {0.5: 1, 1.0: 2, math.inf: 3}
    assert (found.calls, found.errors, found.cache_hits, found.cache_misses) == (15, 2, 4, 0)
    assert found.started_at is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>nginx</html>", "not a Prometheus exposition"),
        ("up 1\n", "no sibyl_mcp_tool_duration_seconds among the metrics: is this a Sibyl runtime?"),
    ],
)
def test_something_else_on_the_port_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ExpositionError, match=message.replace("?", r"\?")):
        read_counters(text)
