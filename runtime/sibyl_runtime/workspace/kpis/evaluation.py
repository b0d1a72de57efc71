"""The value of a KPI over what was counted within its window, and whether it keeps its target."""

from __future__ import annotations

import math
from typing import assert_never

from sibyl_runtime.workspace.kpis.counting import Buckets, Increase, Totals
from sibyl_runtime.workspace.kpis.figures import (
    Count,
    Growth,
    Indicator,
    Measure,
    Percentile,
    Rate,
    Ratio,
    Utilisation,
)


def value_over(measure: Measure, increase: Increase) -> float | None:
    """The figure in its own unit; None when nothing was counted that it could be told from.

    Utilisation is read from counters of percent-seconds, named after the resource.
    """
    totals = increase.totals
    match measure:
        case Percentile(histogram, share):
            return quantile(totals.histograms.get(histogram, {}), share)
        case Growth(counter):
            return totals.count(counter)
        case Rate(counter) | Utilisation(counter):
            grown = totals.count(counter)
            return None if grown is None else grown / increase.seconds
        case Ratio():
            return _ratio(measure, totals)
        case _:
            assert_never(measure)


def is_met(indicator: Indicator, value: float, increase: Increase | None = None) -> bool:
    """Whether the target is kept. A percentile is judged at the target's own edge, where the histogram is exact."""
    measure = indicator.measure
    if isinstance(measure, Percentile) and increase is not None:
        buckets = increase.totals.histograms.get(measure.histogram, {})
        if indicator.target in buckets:
            return buckets[indicator.target] >= measure.share * buckets[max(buckets)]
    return value >= indicator.target if indicator.higher_is_better else value <= indicator.target


def quantile(buckets: Buckets, q: float) -> float | None:
    """The q-quantile (0 to 1) in the unit of the edges, linear within its bucket; None without observations.

    A quantile above the last finite edge is given as that edge: it is at least that much.
    """
    if not buckets or not (total := buckets[max(buckets)]):
        return None
    rank = q * total
    lower_edge, below = 0.0, 0.0
    for edge, cumulative in sorted(buckets.items()):
        if math.isinf(edge):
            return lower_edge
        if cumulative >= rank and cumulative > below:
            return lower_edge + (edge - lower_edge) * (rank - below) / (cumulative - below)
        lower_edge, below = edge, cumulative
    return lower_edge


def _ratio(ratio: Ratio, totals: Totals) -> float | None:
    whole = sum(_count(count, totals) for count in ratio.whole)
    if not whole or (ratio.unknown is not None and _count(ratio.unknown, totals)):
        return None
    other = 0.0 if ratio.other is None else _count(ratio.other, totals)
    share = max(0.0, _count(ratio.part, totals) - other) / whole
    return 1 - share if ratio.complement else share


def _count(count: Count, totals: Totals) -> float:
    return totals.count(count.counter, count.status) or 0.0
