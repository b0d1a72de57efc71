"""The KPIs of the workspace, measured by this process from its own counters, and exported beside their targets.

A sampler looks at the counters now and then, so that a window is a window also when nobody scrapes for long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sibyl_runtime.kpi.resources import ProcessUse
from sibyl_runtime.workspace import Kpi
from sibyl_runtime.workspace.kpis import History, Indicator, Totals, indicator_of, is_met, value_over
from sibyl_runtime.workspace.kpis.figures import CPU, MEMORY

LEAST_INTERVAL, LONGEST_INTERVAL = 1.0, 60.0
PER_WINDOW = 60


@dataclass(frozen=True)
class Reading:
    """A KPI as of now. `value` is in the unit of the target, None while nothing was counted; so is `met` then.

    `measured_seconds` is how much of the window the process has seen.
    """

    indicator: Indicator
    value: float | None
    met: bool | None
    measured_seconds: float


class Indicators(Collector):
    """Measures `kpis` from the counters in `registry`, and from what the process uses."""

    def __init__(
        self,
        kpis: Sequence[Kpi],
        registry: CollectorRegistry,
        use: ProcessUse,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._indicators = [indicator_of(kpi) for kpi in kpis]
        self._histories = {found.window: History(found.window) for found in self._indicators}
        self._series = frozenset[str]().union(*(found.series for found in self._indicators))
        self._counters = registry.restricted_registry(sorted(self._series))
        self._use = use
        self._clock = clock
        self._sampled_at = clock()
        self._memory_seconds = 0.0
        self.sample()
        registry.register(self)

    @property
    def interval(self) -> float:
        """Seconds between samples that make the shortest window smooth."""
        return min(LONGEST_INTERVAL, max(LEAST_INTERVAL, min(self._histories, default=LONGEST_INTERVAL) / PER_WINDOW))

    def sample(self) -> None:
        """Remember what is counted now."""
        now = self._clock()
        self._memory_seconds += self._use.memory() * (now - self._sampled_at)
        self._sampled_at = now
        totals = Totals.of((one for metric in self._counters.collect() for one in metric.samples), self._series)
        used = {(CPU, ""): self._use.processor(), (MEMORY, ""): self._memory_seconds}
        totals = Totals({**totals.counters, **used}, totals.histograms)
        for history in self._histories.values():
            history.add(now, totals)

    def readings(self) -> list[Reading]:
        """Every KPI, in the order of the document."""
        self.sample()
        return [self._reading(indicator) for indicator in self._indicators]

    def _reading(self, indicator: Indicator) -> Reading:
        increase = self._histories[indicator.window].increase()
        value = None if increase is None else value_over(indicator.measure, increase)
        seconds = 0.0 if increase is None else min(increase.seconds, indicator.window)
        met = None if value is None else is_met(indicator, value, increase)
        return Reading(indicator, value, met, seconds)

    def describe(self) -> Iterable[Metric]:
        """The families without their samples: the registry asks for their names."""
        return _families()

    def collect(self) -> Iterable[Metric]:
        """Target, and where it is known value and verdict, of every KPI."""
        target, value, met = _families()
        for reading in self.readings():
            name = [reading.indicator.name]
            target.add_metric(name, reading.indicator.target)
            if reading.value is not None and reading.met is not None:
                value.add_metric(name, reading.value)
                met.add_metric(name, float(reading.met))
        return target, value, met


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("sibyl_kpi_target", "What a KPI should be.", labels=["kpi"]),
        GaugeMetricFamily("sibyl_kpi_value", "A KPI over its window, in the unit of its target.", labels=["kpi"]),
        GaugeMetricFamily("sibyl_kpi_met", "1 while a KPI keeps its target, else 0.", labels=["kpi"]),
    )


@asynccontextmanager
async def sampling(indicators: Indicators) -> AsyncIterator[None]:
    """Sample until the end of the block."""

    async def sample() -> None:
        while True:
            await asyncio.sleep(indicators.interval)
            indicators.sample()

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
