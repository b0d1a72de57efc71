"""The KPIs of a workspace over all of its pods, against their targets.

What every pod has counted since the last scrape is added to one sum, so that pods that are gone, and processes that
began anew, take nothing with them, and a window of thirty days needs no more memory than one of a minute.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sibyl_operator.kpi.counters import Families
from sibyl_operator.observed import TargetFacts
from sibyl_runtime.workspace import Kpi
from sibyl_runtime.workspace.kpis import (
    SERIES,
    History,
    Increase,
    Indicator,
    Totals,
    Utilisation,
    indicator_of,
    is_met,
    value_over,
)

VALUES = "sibyl_kpi_value"
PROCESS_START = "process_start_time_seconds"


@dataclass(frozen=True)
class PodTotals:
    """What one process has counted since it began, and the values of the KPIs that it measured itself, by name.

    `started_at` is Unix time in seconds, None where it is not exported.
    """

    totals: Totals
    values: Mapping[str, float] = field(default_factory=dict)
    started_at: float | None = None


def totals_of(families: Families) -> PodTotals:
    """What the targets need of one scrape."""
    samples = [sample for family in families.values() for sample in family.samples]
    return PodTotals(
        totals=Totals.of(samples, SERIES),
        values={sample.labels["kpi"]: sample.value for sample in samples if sample.name == VALUES},
        started_at=next((sample.value for sample in samples if sample.name == PROCESS_START), None),
    )


class Fleet:
    """The sum over the pods of one workspace, and how it grew within `window` seconds."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._history = History(window)
        self._sum: Totals | None = None
        self._last: dict[str, PodTotals] = {}

    def add(self, at: float, scrapes: Mapping[str, PodTotals], existing: Collection[str]) -> None:
        """Count what grew since the last time. `scrapes` holds the pods that answered, by uid, of those `existing`."""
        if self._sum is None:
            self._sum = Totals()
            self._begin(at, scrapes)
        for uid, scrape in scrapes.items():
            self._sum += self._growth(at, self._last.get(uid), scrape)
            self._last[uid] = scrape
        for uid in self._last.keys() - set(existing):
            del self._last[uid]
        self._history.add(at, self._sum)

    def increase(self) -> Increase | None:
        """None before anything can be told."""
        return self._history.increase()

    def _begin(self, at: float, scrapes: Mapping[str, PodTotals]) -> None:
        """All that young processes have counted belongs to the window; of older ones nobody knows what does."""
        starts = [self._start_within(at, pod) for pod in scrapes.values()]
        known = [began for began in starts if began is not None]
        if known and len(known) == len(starts):
            self._history.add(min(known), Totals())
        else:
            self._last = dict(scrapes)

    def _growth(self, at: float, before: PodTotals | None, now: PodTotals) -> Totals:
        if before is None:
            return Totals() if self._start_within(at, now) is None else now.totals
        if before.started_at != now.started_at or now.totals.fell_below(before.totals):
            return now.totals
        return now.totals - before.totals

    def _start_within(self, at: float, pod: PodTotals) -> float | None:
        began = pod.started_at
        return began if began is not None and at - self._window < began < at else None


class Targets:
    """The KPIs of one workspace over time; a window is kept from when a KPI first asks for it."""

    def __init__(self) -> None:
        self._fleets: dict[float, Fleet] = {}

    def measure(
        self, kpis: Sequence[Kpi], at: float, scrapes: Mapping[str, PodTotals], existing: Collection[str]
    ) -> tuple[TargetFacts, ...]:
        """Add one scrape of the pods, and judge every KPI, in the order of the document."""
        indicators = [indicator_of(kpi) for kpi in kpis]
        windows = {indicator.window for indicator in indicators}
        self._fleets = {window: self._fleets.get(window) or Fleet(window) for window in windows}
        for fleet in self._fleets.values():
            fleet.add(at, scrapes, existing)
        return tuple(self._judge(indicator, scrapes) for indicator in indicators)

    def _judge(self, indicator: Indicator, scrapes: Mapping[str, PodTotals]) -> TargetFacts:
        if isinstance(indicator.measure, Utilisation):
            value, increase = _mean([pod.values.get(indicator.name) for pod in scrapes.values()]), None
        else:
            increase = self._fleets[indicator.window].increase()
            value = None if increase is None else value_over(indicator.measure, increase)
        met = None if value is None else is_met(indicator, value, increase)
        return TargetFacts(indicator.name, indicator.target, value, met, is_share=indicator.is_share)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
