"""Totals that only grow, and how much they grew within a window.

Histograms are read as steps: where an edge is missing, it counts what the next lower edge counts. So totals with
different edges can be added while a rollout changes a target, and no observation looks faster than it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

Buckets = Mapping[float, float]
"""Cumulative observations by upper edge in seconds; the last edge is infinity."""

RESOLUTION: Final = 60
"""Parts of a window that are told apart: what is kept is bounded, and a window is at most this share too long."""

_BUCKET: Final = "_bucket"


class Sample(Protocol):
    """One sample of a Prometheus exposition."""

    @property
    def name(self) -> str:
        """With its suffix, such as `_total`."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels."""

    @property
    def value(self) -> float:
        """The value."""


@dataclass(frozen=True)
class Totals:
    """`counters` by name and the value of the label `status` (empty without one), `histograms` by name."""

    counters: Mapping[tuple[str, str], float] = field(default_factory=dict)
    histograms: Mapping[str, Buckets] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Iterable[Sample], names: frozenset[str]) -> Totals:
        """The samples that are called one of `names`, summed over all other labels."""
        counters: dict[tuple[str, str], float] = {}
        histograms: dict[str, dict[float, float]] = {}
        for sample in samples:
            if sample.name not in names:
                continue
            if sample.name.endswith(_BUCKET):
                buckets = histograms.setdefault(sample.name.removesuffix(_BUCKET), {})
                edge = float(sample.labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
            else:
                key = (sample.name, sample.labels.get("status", ""))
                counters[key] = counters.get(key, 0.0) + sample.value
        return cls(counters, {name: dict(sorted(buckets.items())) for name, buckets in histograms.items()})

    def count(self, name: str, status: str = "") -> float | None:
        """The counter's total over the statuses that begin with `status`; None when it is not counted at all."""
        found = [value for (one, outcome), value in self.counters.items() if one == name and outcome.startswith(status)]
        known = found or any(one == name for one, _ in self.counters)
        return sum(found, 0.0) if known else None

    def __add__(self, other: Totals) -> Totals:
        return self._with(other, 1.0)

    def __sub__(self, other: Totals) -> Totals:
        return self._with(other, -1.0)

    def fell_below(self, earlier: Totals) -> bool:
        """True when a counter is less than it was: its process began anew."""
        return any(value < earlier.counters.get(key, 0.0) for key, value in self.counters.items())

    def _with(self, other: Totals, sign: float) -> Totals:
        counters = {
            key: max(0.0, self.counters.get(key, 0.0) + sign * other.counters.get(key, 0.0))
            for key in self.counters.keys() | other.counters.keys()
        }
        histograms = {
            name: _combined(self.histograms.get(name, {}), other.histograms.get(name, {}), sign)
            for name in self.histograms.keys() | other.histograms.keys()
        }
        return Totals(counters, histograms)


def _combined(left: Buckets, right: Buckets, sign: float) -> Buckets:
    edges = sorted({*left, *right})
    values = [
        max(0.0, one + sign * other) for one, other in zip(_steps(left, edges), _steps(right, edges), strict=True)
    ]
    for index in range(len(values) - 2, -1, -1):  # a lower edge never counts more than the one above it
        values[index] = min(values[index], values[index + 1])
    return dict(zip(edges, values, strict=True))


def _steps(buckets: Buckets, edges: list[float]) -> list[float]:
    values, below = [], 0.0
    for edge in edges:
        below = buckets.get(edge, below)
        values.append(below)
    return values


@dataclass(frozen=True)
class Increase:
    """How much totals grew over `seconds`."""

    totals: Totals
    seconds: float


class History:
    """Totals at moments of the last `window` seconds, few enough to keep for a window of days."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._kept: deque[tuple[float, Totals]] = deque()

    def add(self, at: float, totals: Totals) -> None:
        """Remember `totals` as of `at` (seconds, never going back); the latest always counts."""
        kept = self._kept
        if len(kept) > 1 and kept[-1][0] - kept[-2][0] < self.window / RESOLUTION:
            kept.pop()
        kept.append((at, totals))
        # One moment older than the window stays, as the one that the increase is measured from.
        while len(kept) > 2 and kept[1][0] <= at - self.window:
            kept.popleft()

    def increase(self) -> Increase | None:
        """From the beginning of the window, or of the history, to the latest; None before two moments are known."""
        if len(self._kept) < 2:
            return None
        (begin, before), (end, after) = self._kept[0], self._kept[-1]
        return Increase(after - before, end - begin) if end > begin else None
