"""A sliding window over the scrapes of a workspace's pods, and the indicators over it.

Zero traffic is a measurement, not a gap: pods that answer and count nothing give zero requests per second.
A pod that stops answering keeps what it counted until the window has passed over it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sibyl_operator.kpi.counters import Buckets, PodCounters
from sibyl_operator.kpi.quantile import merge, quantile
from sibyl_operator.observed import KpiFacts


@dataclass(frozen=True)
class Scrape:
    """Counters of one pod at a time (Unix seconds)."""

    at: float
    counters: PodCounters


@dataclass(frozen=True)
class Increase:
    """What one pod counted within the window, over `seconds`."""

    counters: PodCounters
    seconds: float


@dataclass
class KpiWindow:
    """The recent scrapes of each pod of one workspace. `seconds` is the length of the window."""

    seconds: float
    _pods: dict[str, deque[Scrape]] = field(default_factory=dict)

    def add(self, pod: str, scrape: Scrape) -> None:
        """Remember a scrape and forget what the window has left behind."""
        scrapes = self._pods.setdefault(pod, deque())
        scrapes.append(scrape)
        self._drop_before(scrape.at - self.seconds)

    def indicators(self, *, pods_scraped: int, pods_expected: int) -> KpiFacts | None:
        """The indicators over the window; None until one pod has been seen for long enough to tell."""
        increases = [increase for scrapes in self._pods.values() if (increase := _increase(scrapes, self.seconds))]
        if not increases:
            return None
        durations = merge([increase.counters.durations for increase in increases])
        calls = sum(increase.counters.calls for increase in increases)
        errors = sum(increase.counters.errors for increase in increases)
        hits = sum(increase.counters.cache_hits for increase in increases)
        lookups = hits + sum(increase.counters.cache_misses for increase in increases)
        return KpiFacts(
            p50=quantile(durations, 0.50),
            p95=quantile(durations, 0.95),
            p99=quantile(durations, 0.99),
            requests_per_second=calls / max(increase.seconds for increase in increases),
            error_ratio=errors / calls if calls else None,
            cache_hit_ratio=hits / lookups if lookups else None,
            pods_scraped=pods_scraped,
            pods_expected=pods_expected,
            window_seconds=self.seconds,
        )

    def _drop_before(self, oldest: float) -> None:
        for pod, scrapes in list(self._pods.items()):
            # One scrape older than the window stays as the baseline of the increase.
            while len(scrapes) > 1 and scrapes[1].at <= oldest:
                scrapes.popleft()
            if scrapes[-1].at < oldest:
                del self._pods[pod]


def _increase(scrapes: deque[Scrape], window: float) -> Increase | None:
    first, last = scrapes[0], scrapes[-1]
    started_at = first.counters.started_at
    counted = PodCounters()
    begin = first.at
    if started_at is not None and started_at > last.at - window:
        # The process began within the window: all that it has counted belongs to it.
        counted, begin = first.counters, min(started_at, first.at)
    elif len(scrapes) == 1:
        return None
    for before, after in zip(scrapes, list(scrapes)[1:], strict=False):
        counted = _sum(counted, _difference(before.counters, after.counters))
    return Increase(counted, max(last.at - begin, 1.0))


def _difference(before: PodCounters, after: PodCounters) -> PodCounters:
    if after.calls < before.calls or after.started_at != before.started_at:
        return after  # the process restarted: its counters began again at zero
    return PodCounters(
        durations=_subtract(after.durations, before.durations),
        calls=after.calls - before.calls,
        errors=max(0.0, after.errors - before.errors),
        cache_hits=max(0.0, after.cache_hits - before.cache_hits),
        cache_misses=max(0.0, after.cache_misses - before.cache_misses),
    )


def _subtract(after: Buckets, before: Buckets) -> Buckets:
    return {edge: max(0.0, value - before.get(edge, 0.0)) for edge, value in after.items()}


def _sum(left: PodCounters, right: PodCounters) -> PodCounters:
    edges = set(left.durations) | set(right.durations)
    return PodCounters(
        durations={edge: left.durations.get(edge, 0.0) + right.durations.get(edge, 0.0) for edge in sorted(edges)},
        calls=left.calls + right.calls,
        errors=left.errors + right.errors,
        cache_hits=left.cache_hits + right.cache_hits,
        cache_misses=left.cache_misses + right.cache_misses,
    )
