"""The pipeline engine, counted: every run by outcome and time, every step by time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from sibyl_runtime.kpi.instruments import CANCELLED
from sibyl_runtime.kpi.metrics import ERROR, SUCCESS, RuntimeMetrics
from sibyl_runtime.pipeline.asking import Ask
from sibyl_runtime.pipeline.context import Deadline, Fallback, Progress, Services, StageTiming
from sibyl_runtime.pipeline.engine import AS_REGISTERED, PipelineEngine
from sibyl_runtime.pipeline.listening import Listener
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.techniques import REGISTRY
from sibyl_runtime.techniques.technique import Technique


class MeteredEngine(PipelineEngine):
    """A PipelineEngine that reports its runs. A run that the caller gave up is `cancelled`, neither good nor bad."""

    def __init__(
        self, services: Services, metrics: RuntimeMetrics, techniques: Mapping[str, Technique] = REGISTRY
    ) -> None:
        super().__init__(services, techniques)
        self._metrics = metrics.pipelines

    async def run(
        self,
        pipeline: str,
        parameters: Mapping[str, Any],
        *,
        deadline: Deadline,
        progress: Progress | None = None,
        instead: Mapping[str, Technique] = AS_REGISTERED,
        listener: Listener | None = None,
        ask: Ask | None = None,
    ) -> PipelineResult:
        """See PipelineEngine."""
        started = time.perf_counter()
        status = ERROR
        try:
            result = await super().run(
                pipeline,
                parameters,
                deadline=deadline,
                progress=progress,
                instead=instead,
                listener=listener,
                ask=ask,
            )
            status = SUCCESS
        except asyncio.CancelledError:
            status = CANCELLED
            raise
        finally:
            self._metrics.finished(pipeline, status, time.perf_counter() - started)
        for step, seconds in step_seconds(result.stages).items():
            self._metrics.step(pipeline, step, seconds)
        return result

    def fell_back(self, pipeline: str, fallback: Fallback) -> None:
        """See PipelineEngine."""
        self._metrics.fell_back(pipeline, fallback.step, fallback.reason)


def step_seconds(stages: tuple[StageTiming, ...]) -> dict[str, float]:
    """The time of each step that ran: the sum of its stages."""
    totals: dict[str, float] = {}
    for timing in stages:
        if not timing.skipped:
            totals[timing.step] = totals.get(timing.step, 0.0) + timing.seconds
    return totals
