"""Quantiles of classic Prometheus histograms."""

from __future__ import annotations

import math

from sibyl_operator.kpi.counters import Buckets


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


def merge(histograms: list[Buckets]) -> Buckets:
    """The sum over pods, on the edges that all of them have: edges differ while a rollout changes a target."""
    if not histograms:
        return {}
    shared = set.intersection(*(set(buckets) for buckets in histograms))
    return {edge: sum(buckets[edge] for buckets in histograms) for edge in sorted(shared)}
