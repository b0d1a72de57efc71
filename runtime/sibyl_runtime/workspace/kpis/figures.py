"""What each KPI of the document measures: found by its metric, or by its well-known name when it gives none.

A KPI that nobody could measure is refused here, with what there is, by both programs alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sibyl_runtime.workspace.errors import number, suggestion
from sibyl_runtime.workspace.observability import TOOL_DURATION, Kpi

DEFAULT_WINDOW: Final = "5m"
LOWER, HIGHER = False, True
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RATE: Final = re.compile(r"rate\(\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\[([1-9][0-9]{0,5}[smhd])\]\s*\)")
_PERCENTILE_NAME: Final = re.compile(r"(?:p([0-9]{2}|99[0-9])_latency|(?:latency|response_time)_p([0-9]{2}|99[0-9]))")

CALLS: Final = "sibyl_mcp_tool_calls_total"
REQUESTS: Final = "sibyl_mcp_requests_total"
HITS, MISSES = "sibyl_cache_hits_total", "sibyl_cache_misses_total"
COST, UNPRICED = "sibyl_llm_cost_usd_total", "sibyl_llm_unpriced_calls_total"
WARMING_COST: Final = "sibyl_cache_warming_cost_usd_total"
CPU, MEMORY = "cpu", "memory"

DURATIONS: Final = (
    TOOL_DURATION,
    "sibyl_mcp_request_duration_seconds",
    "sibyl_mcp_pipeline_duration_seconds",
    "sibyl_pipeline_duration_seconds",
    "sibyl_pipeline_step_duration_seconds",
)
# Each counter with True where more of it is better.
COUNTERS: Final[Mapping[str, bool]] = {
    CALLS: HIGHER,
    REQUESTS: HIGHER,
    "sibyl_pipeline_executions_total": HIGHER,
    HITS: HIGHER,
    MISSES: LOWER,
    "sibyl_mcp_tool_errors_total": LOWER,
    "sibyl_llm_calls_total": LOWER,
    "sibyl_llm_tokens_total": LOWER,
    COST: LOWER,
    "sibyl_tokens_used_total": LOWER,
}
SERIES: Final = frozenset({*(f"{name}_bucket" for name in DURATIONS), *COUNTERS, UNPRICED, WARMING_COST})
"""All samples that figures are computed from."""


@dataclass(frozen=True)
class Percentile:
    """Of a duration, in seconds; `share` between 0 and 1."""

    histogram: str
    share: float


@dataclass(frozen=True)
class Rate:
    """A counter's growth per second."""

    counter: str


@dataclass(frozen=True)
class Growth:
    """A counter's growth over the window."""

    counter: str


@dataclass(frozen=True)
class Count:
    """A counter, over those of its statuses that begin with `status`."""

    counter: str
    status: str = ""


@dataclass(frozen=True)
class Ratio:
    """`part`, less `other`, of `whole`, or of what is left of it when `complement`. Not known while `unknown` has
    grown."""

    part: Count
    whole: tuple[Count, ...]
    complement: bool = False
    unknown: Count | None = None
    other: Count | None = None
    bounded: bool = True


@dataclass(frozen=True)
class Utilisation:
    """Use of the processor or the memory by the process, in percent of what it may use: the mean over the window."""

    resource: str


Measure = Percentile | Rate | Growth | Ratio | Utilisation


@dataclass(frozen=True)
class _Figure:
    measure: Measure
    higher_is_better: bool
    made_of: frozenset[str] = frozenset()
    """Metrics that mean this figure when they are written beside its name."""


_ERRORS = Count(CALLS, "error")
_ERROR_METRICS = frozenset({CALLS, "sibyl_mcp_tool_errors_total"})
_COST_PER_ANSWER = _Figure(
    Ratio(
        Count(COST),
        (Count(CALLS, "success"),),
        unknown=Count(UNPRICED),
        # Nobody called for what was asked ahead.
        other=Count(WARMING_COST),
        bounded=False,
    ),
    LOWER,
    frozenset({COST}),
)
_HIT_RATE = _Figure(Ratio(Count(HITS), (Count(HITS), Count(MISSES))), HIGHER, frozenset({HITS}))
_BY_NAME: Final[Mapping[str, _Figure]] = {
    "availability": _Figure(Ratio(_ERRORS, (Count(CALLS),), complement=True), HIGHER, _ERROR_METRICS),
    "cache_hit_rate": _HIT_RATE,
    "cache_hit_ratio": _HIT_RATE,
    "cost_per_query": _COST_PER_ANSWER,
    "cpu_usage": _Figure(Utilisation(CPU), LOWER),
    "error_rate": _Figure(Ratio(_ERRORS, (Count(CALLS),)), LOWER, _ERROR_METRICS),
    "llm_cost_per_query": _COST_PER_ANSWER,
    "memory_usage": _Figure(Utilisation(MEMORY), LOWER),
    "requests_per_second": _Figure(Rate(CALLS), HIGHER, frozenset({CALLS})),
}
# Gauges of the runtime, measured over the KPI's own window.
_GAUGES: Final[Mapping[str, _Figure]] = {
    "sibyl_cache_hit_rate": _HIT_RATE,
    "sibyl_mcp_cache_hit_rate": _HIT_RATE,
    "sibyl_error_rate": _Figure(Ratio(Count(REQUESTS, "5"), (Count(REQUESTS),)), LOWER),
    "sibyl_requests_per_second": _Figure(Rate(REQUESTS), HIGHER),
}


@dataclass(frozen=True)
class Indicator:
    """A KPI as it is measured: what, over which time in seconds, against which target."""

    name: str
    measure: Measure
    window: float
    target: float
    higher_is_better: bool

    @property
    def is_share(self) -> bool:
        """True for a part of a whole, between 0 and 1."""
        return isinstance(self.measure, Ratio) and self.measure.bounded

    @property
    def series(self) -> frozenset[str]:
        """The samples that it is computed from; none for what is not counted."""
        match self.measure:
            case Percentile(histogram):
                return frozenset({f"{histogram}_bucket"})
            case Rate(counter) | Growth(counter):
                return frozenset({counter})
            case Ratio(part, whole, unknown=unknown, other=other):
                counts = (part, *whole, *(count for count in (unknown, other) if count is not None))
                return frozenset(count.counter for count in counts)
            case Utilisation():
                return frozenset()


class Unmeasurable(ValueError):
    """A KPI that nobody can measure as written: `field` is the one to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def indicator_of(kpi: Kpi) -> Indicator:
    """Raises Unmeasurable."""
    figure, window = _measured(kpi)
    measure = figure.measure
    if kpi.percentile is not None and not isinstance(measure, Percentile):
        measured = f"`{kpi.metric}`" if kpi.metric else f"`{kpi.name}`"
        raise Unmeasurable("percentile", f"only durations have percentiles, {measured} has none; remove it")
    _target_is_possible(kpi, measure)
    seconds = int(window[:-1]) * _SECONDS[window[-1]]
    return Indicator(kpi.name, measure, float(seconds), kpi.value, figure.higher_is_better)


def _measured(kpi: Kpi) -> tuple[_Figure, str]:
    """What is measured, and over which time."""
    window = kpi.window or DEFAULT_WINDOW
    if kpi.metric is None:
        return _by_name(kpi), window
    rate = _RATE.fullmatch(kpi.metric.strip())
    if rate is None:
        return _by_metric(kpi, kpi.metric), window
    counter, written = rate[1], rate[2]
    if counter not in COUNTERS:
        raise Unmeasurable("metric", f"`{counter}` is no counter{suggestion(counter, COUNTERS, 'counters')}")
    if kpi.window not in (None, written):
        raise Unmeasurable("window", f'"{kpi.window}" is not the [{written}] of metric; keep one of them')
    return _Figure(Rate(counter), COUNTERS[counter]), written


def _by_name(kpi: Kpi) -> _Figure:
    if kpi.name in _BY_NAME:
        return _BY_NAME[kpi.name]
    share = kpi.percentile or _share_in(kpi.name)
    if share is not None:
        return _Figure(Percentile(TOOL_DURATION, share), LOWER)
    known = ", ".join(sorted((*_BY_NAME, "p50_latency", "p95_latency", "p99_latency")))
    raise Unmeasurable("name", f'"{kpi.name}" is not known by its name; give its metric, or write one of {known}')


def _by_metric(kpi: Kpi, metric: str) -> _Figure:
    named = _BY_NAME.get(kpi.name)
    if named is not None and metric in named.made_of:
        return named
    if metric in DURATIONS:
        share = kpi.percentile or _share_in(kpi.name)
        if share is None:
            raise Unmeasurable("percentile", f"is required: which percentile of {metric}, such as 0.95")
        return _Figure(Percentile(metric, share), LOWER)
    if metric in _GAUGES:
        return _GAUGES[metric]
    if metric in COUNTERS:
        return _Figure(Growth(metric), COUNTERS[metric])
    known = (*DURATIONS, *COUNTERS, *_GAUGES)
    raise Unmeasurable(
        "metric",
        f'"{metric}" cannot be measured; write one of {", ".join(sorted(known))}, or rate(counter[1m])',
    )


def _share_in(name: str) -> float | None:
    """0.95 for `p95_latency` and `response_time_p95`, 0.999 for `p999_latency`."""
    found = _PERCENTILE_NAME.fullmatch(name)
    digits = (found[1] or found[2]) if found else "0"
    share = int(digits) / 10 ** len(digits)
    return share if 0 < share < 1 else None


def _target_is_possible(kpi: Kpi, measure: Measure) -> None:
    field = "target" if kpi.target is not None else "threshold"
    if isinstance(measure, Ratio) and measure.bounded and kpi.value > 1:
        meant = f"; write {kpi.value / 100:g} for {kpi.value:g} percent" if kpi.value <= 100 else ""
        raise Unmeasurable(field, f"is a share between 0 and 1, found {number(kpi.value)}{meant}")
    if isinstance(measure, Utilisation) and kpi.value > 100:
        raise Unmeasurable(field, f"is in percent, 100 at most, found {number(kpi.value)}")
