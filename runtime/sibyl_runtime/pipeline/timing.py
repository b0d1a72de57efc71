"""Where the time of a pipeline run goes, stage by stage: what the operator finds the bottleneck from.

A stage that works in many small turns (load, chunk, embed and store take turns over an ingest) is one entry with the
sum of its turns, so that a histogram sees one observation per step and run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Clock = Callable[[], float]


@dataclass(frozen=True)
class StageTiming:
    """How long one stage of a step took, in seconds. A skipped step has one entry with `skipped` and 0 seconds.

    `started` is when its first turn began, in seconds after the run: stages of parallel steps overlap.
    """

    pipeline: str
    step: str
    stage: str
    seconds: float
    skipped: bool = False
    started: float = field(default=0.0, compare=False)


class StageRecorder:
    """Collects the timings of one pipeline run, and knows which stage is running now."""

    def __init__(self, pipeline: str, clock: Clock = time.perf_counter) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._origin = clock()
        self._started: dict[tuple[str, str], float] = {}
        self._seconds: dict[tuple[str, str], float] = {}
        self._skipped: set[tuple[str, str]] = set()
        self.running: tuple[str, str] | None = None
        """Step and stage that started last; after an interruption, the one that was interrupted."""

    @contextmanager
    def timed(self, step: str, stage: str) -> Iterator[None]:
        """Add the time spent inside to `stage` of `step`; also when it ends by an error."""
        self.running = (step, stage)
        started = self._clock()
        self._started.setdefault((step, stage), started - self._origin)
        try:
            yield
        finally:
            spent = self._clock() - started
            self._seconds[step, stage] = self._seconds.get((step, stage), 0.0) + spent

    def skip(self, step: str, stage: str) -> None:
        """Note that `step` did not run."""
        self._seconds[step, stage] = 0.0
        self._skipped.add((step, stage))

    def branch(self) -> StageRecorder:
        """A recorder for a step that runs beside others, so that each knows which stage of its own is running."""
        other = StageRecorder(self._pipeline, self._clock)
        other._origin = self._origin
        return other

    def join(self, branch: StageRecorder) -> None:
        """Take over what a branch has recorded; its steps are its own."""
        self._seconds |= branch._seconds
        self._started |= branch._started
        self._skipped |= branch._skipped

    def timings(self) -> tuple[StageTiming, ...]:
        """All stages so far, in the order in which they first ran."""
        return tuple(
            StageTiming(
                self._pipeline,
                step,
                stage,
                seconds,
                (step, stage) in self._skipped,
                self._started.get((step, stage), 0.0),
            )
            for (step, stage), seconds in self._seconds.items()
        )
