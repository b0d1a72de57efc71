"""One scrape of one runtime pod, reduced to the counters that the indicators need."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

DURATION = "sibyl_mcp_tool_duration_seconds"
CALLS = "sibyl_mcp_tool_calls"
CACHE_HITS = "sibyl_cache_hits"
CACHE_MISSES = "sibyl_cache_misses"
PROCESS_START = "process_start_time_seconds"

Buckets = Mapping[float, float]
"""Cumulative observations by upper edge in seconds; the last edge is infinity."""


class ExpositionError(ValueError):
    """The text is not a Prometheus exposition of a runtime."""


@dataclass(frozen=True)
class PodCounters:
    """Totals since the process began. A call that the client got wrong is no error of the service.

    `started_at` is Unix time in seconds, None where it is not exported.
    """

    durations: Buckets = field(default_factory=dict)
    calls: float = 0.0
    errors: float = 0.0
    cache_hits: float = 0.0
    cache_misses: float = 0.0
    started_at: float | None = None


Families = Mapping[str, Metric]


def read_counters(exposition: str) -> PodCounters:
    """Read the text of GET /metrics, summed over tools and caches. Raises ExpositionError with the reason."""
    return counters_of(read_families(exposition))


def read_families(exposition: str) -> Families:
    """The metrics of a runtime by name. Raises ExpositionError with the reason."""
    try:
        families = {family.name: family for family in text_string_to_metric_families(exposition)}
    except ValueError as error:
        raise ExpositionError(f"not a Prometheus exposition: {error}") from error
    if DURATION not in families:
        raise ExpositionError(f"no {DURATION} among the metrics: is this a Sibyl runtime?")
    return families


def counters_of(families: Families) -> PodCounters:
    """Summed over tools and caches."""
    calls = families.get(CALLS)
    return PodCounters(
        durations=_buckets(families[DURATION]),
        calls=_total(calls),
        errors=_total(calls, status="error"),
        cache_hits=_total(families.get(CACHE_HITS)),
        cache_misses=_total(families.get(CACHE_MISSES)),
        started_at=_gauge(families.get(PROCESS_START)),
    )


def _buckets(family: Metric) -> Buckets:
    totals: dict[float, float] = defaultdict(float)
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            totals[_edge(sample.labels["le"])] += sample.value
    return dict(sorted(totals.items()))


def _edge(text: str) -> float:
    return math.inf if text == "+Inf" else float(text)


def _total(family: Metric | None, status: str | None = None) -> float:
    if family is None:
        return 0.0
    counted = (sample for sample in family.samples if sample.name.endswith("_total"))
    return sum((float(s.value) for s in counted if status in (None, s.labels.get("status"))), 0.0)


def _gauge(family: Metric | None) -> float | None:
    return family.samples[0].value if family and family.samples else None
