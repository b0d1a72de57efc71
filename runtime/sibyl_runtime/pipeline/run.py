"""One run of one pipeline: its results so far, and the guard around whatever runs in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sibyl_runtime.errors import DeadlineExceeded, SibylError
from sibyl_runtime.pipeline.asking import Ask
from sibyl_runtime.pipeline.context import SEND, Fallback, Services, StepContext
from sibyl_runtime.pipeline.deadline import Deadline
from sibyl_runtime.pipeline.ledger import IngestLedger, Progress
from sibyl_runtime.pipeline.listening import Listener, StageEnded
from sibyl_runtime.pipeline.stream import Stream
from sibyl_runtime.pipeline.timing import StageRecorder, StageTiming

Value = TypeVar("Value")


@dataclass(frozen=True)
class PipelineResult:
    """What a run came to. `results` is keyed by step; a lazy result appears as the number of things it carried.

    `ledgers` holds one entry per load that ran, with what it skipped. `seconds` is the wall time of the whole run.
    `reusable` is False when a step said that its answer must not serve anybody else. `notes` holds, by step, what it
    tells the caller of how it worked. `priced` is False when a model was waited for in vain, which may have charged.
    """

    pipeline: str
    results: Mapping[str, Mapping[str, Any]]
    stages: tuple[StageTiming, ...]
    seconds: float
    ledgers: tuple[IngestLedger, ...] = ()
    reusable: bool = True
    notes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    priced: bool = True


@dataclass
class PipelineRun:
    """The state of a run. Steps run one after the other, those of a group at the same time, each in a branch.

    Only streams work across steps.
    """

    services: Services
    pipeline: str
    parameters: Mapping[str, Any]
    deadline: Deadline
    progress: Progress | None
    recorder: StageRecorder
    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    single_use: list[str] = field(default_factory=list)
    listener: Listener | None = None
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    fallbacks: list[Fallback] = field(default_factory=list)
    unpriced: list[str] = field(default_factory=list)
    ask: Ask | None = None

    def context(self, step: str, seconds: float | None = None) -> StepContext:
        """What the step called `step` is given, which may take so many `seconds`; None: what is left of the run."""
        return StepContext(
            services=self.services,
            pipeline=self.pipeline,
            step=step,
            parameters=self.parameters,
            results=self.results,
            deadline=self.deadline.capped(seconds, f"raise timeout_s of step `{step}`"),
            progress=self.progress,
            recorder=self.recorder,
            single_use=self.single_use,
            notes=self.notes,
            fallbacks=self.fallbacks,
            unpriced=self.unpriced,
            ask=self.ask,
        )

    def branch(self, deadline: Deadline, listener: Listener | None) -> PipelineRun:
        """The run as one of several steps at the same time sees it: what the others return is not there."""
        return replace(
            self, deadline=deadline, listener=listener, recorder=self.recorder.branch(), results=dict(self.results)
        )

    async def finish(self, context: StepContext, stage: str, work: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        """Run a step and keep what it returns."""
        self.results[context.step] = dict(await self.guarded(context, stage, work))
        self._publish_counts()

    async def tell_stages(self, context: StepContext) -> None:
        """Let the listener hear how long the stages of a step took that has just ended."""
        listener = self.listener
        if listener is None:
            return

        async def tell() -> None:
            for timing in self.recorder.timings():
                if timing.step == context.step and not timing.skipped:
                    await listener(StageEnded(timing.step, timing.stage, timing.seconds, timing.started))

        await self.guarded(context, SEND, tell)

    async def guarded(self, context: StepContext, stage: str, work: Callable[[], Awaitable[Value]]) -> Value:
        """The value of `work`, within the deadline; every failure gets the place where it happened.

        `stage` names the place while no stage is being timed.
        """
        context.deadline.check(stage)
        self.recorder.running = None
        scope = asyncio.timeout(context.deadline.remaining())
        try:
            async with scope:
                return await work()
        except DeadlineExceeded as error:
            # Stores and models tell what they were doing; the caller also wants to know in which stage.
            error.details |= self._place(context, stage)
            raise
        except SibylError:
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) and scope.expired():
                raise context.deadline.exceeded(**self._place(context, stage)) from error
            raise context.failed(f"failed: {type(error).__name__}: {error}") from error

    def _place(self, context: StepContext, stage: str) -> dict[str, str]:
        """The stage that is running. While a stream is drained it may belong to an earlier step."""
        step, running = self.recorder.running or (context.step, stage)
        return {"stage": running, "step": step, "pipeline": self.pipeline}

    async def settle(self) -> None:
        """Run the streams that no step took: a pipeline that ends before `data.store_vectors` still does its work."""
        for step, stream in reversed(self._streams()):
            if not stream.taken:
                await self.guarded(self.context(step), "load", stream.drain)
        self._publish_counts()

    async def close_streams(self) -> None:
        """Release files and the like, the last stream first: each reads from the one before it."""
        for _, stream in reversed(self._streams()):
            await stream.close()

    def result(self, seconds: float) -> PipelineResult:
        """The outcome, after `settle`."""
        ledgers = {id(stream.ledger): stream.ledger for _, stream in self._streams()}
        return PipelineResult(
            pipeline=self.pipeline,
            results=self._plain_results(),
            stages=self.recorder.timings(),
            seconds=seconds,
            ledgers=tuple(ledgers.values()),
            reusable=not self.single_use,
            notes=self.notes,
            priced=not self.unpriced,
        )

    def _streams(self) -> list[tuple[str, Stream[Any]]]:
        return [
            (step, value)
            for step, result in self.results.items()
            for value in result.values()
            if isinstance(value, Stream)
        ]

    def _publish_counts(self) -> None:
        """A count exists once its stream has ended: until then a condition on it is an error, not a wrong number."""
        for step, result in self.results.items():
            for stream in [value for value in result.values() if isinstance(value, Stream) and value.ended]:
                self.results[step] = {**result, "count": stream.count}

    def _plain_results(self) -> dict[str, dict[str, Any]]:
        return {
            step: {key: value.count if isinstance(value, Stream) else value for key, value in result.items()}
            for step, result in self.results.items()
        }
