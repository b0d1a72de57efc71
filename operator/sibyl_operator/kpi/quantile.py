"""Histograms of several pods as one; the quantile of it is computed as the runtime computes its own."""

from __future__ import annotations

from sibyl_operator.kpi.counters import Buckets
from sibyl_runtime.workspace.kpis import quantile

__all__ = ["merge", "quantile"]


def merge(histograms: list[Buckets]) -> Buckets:
    """The sum over pods, on the edges that all of them have: edges differ while a rollout changes a target."""
    if not histograms:
        return {}
    shared = set.intersection(*(set(buckets) for buckets in histograms))
    return {edge: sum(buckets[edge] for buckets in histograms) for edge in sorted(shared)}
