"""A service warms its caches by itself: once it answers, and again when its documents have changed.

What changes the corpus makes every kept answer unreachable at once, so that each change costs a round. A round waits
until changes have ended, and rounds keep a distance: while documents stream in, questions are not asked over and over.
Calls of users go first. Questions are asked only while few of the places for calls are taken, and a service that stops
asks none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from sibyl_runtime.errors import SibylError
from sibyl_runtime.kpi.warming import OUTCOMES, WarmingMetrics
from sibyl_runtime.pipeline.asking import Answered, Ask
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.server.admission import ConcurrencyGate
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.workspace import Workspace, warming_pipelines

logger = logging.getLogger("sibyl.warming")


class Warmable(Protocol):
    """The part of runtime.Runtime that is warmed."""

    @property
    def workspace(self) -> Workspace:
        """The workspace in force."""

    async def run_pipeline(
        self, pipeline: str, parameters: Mapping[str, Any], *, deadline: Deadline, ask: Ask | None = None
    ) -> PipelineResult:
        """Run a pipeline, its questions asked by `ask`."""

    async def ask(self, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> Answered:
        """Ask one question."""

    async def corpus_version(self) -> int:
        """The version of what is stored."""


@dataclass(frozen=True)
class Pace:
    """Seconds: between two looks at the corpus, which has to be the same at both; between two rounds at least; of the
    longest pause after questions that failed; the first is `look`, each next one twice as long."""

    look: float = 5.0
    rounds: float = 60.0
    longest: float = 3600.0


@dataclass
class WarmingState:
    """What /health tells. `corpus_version` is what the caches are warm for; `queries`, by outcome, and `seconds` are of
    the last whole round."""

    state: Literal["waiting", "running", "warm", "failed"] = "waiting"
    corpus_version: int | None = None
    seconds: float | None = None
    queries: Mapping[str, int] | None = None
    error: str | None = None


class Warming:
    """The rounds of one process. `gate` has the places of users' calls."""

    def __init__(
        self,
        runtime: Warmable,
        gate: ConcurrencyGate,
        lifecycle: Lifecycle,
        metrics: WarmingMetrics,
        pace: Pace = Pace(),
    ) -> None:
        self._runtime = runtime
        self._pipelines = warming_pipelines(runtime.workspace)
        self._timeout = runtime.workspace.mcp.timeout
        self._gate = gate
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._pace = pace
        self._state = WarmingState()
        self._asked_about: int | None = None
        """The version of the corpus in the last round, whole or not."""

    def told(self) -> Mapping[str, Any]:
        """The state, as /health shows it."""
        return {name: value for name, value in asdict(self._state).items() if value is not None}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Warm while the block runs."""
        task = asyncio.create_task(self._rounds())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _rounds(self) -> None:
        pause = self._pace.look
        while True:
            try:
                whole = await self._round()
            except SibylError as error:
                self._failed(error, first=pause == self._pace.look)
                whole = False
            except Exception:
                logger.exception("a round of warming failed, this is tried again")
                self._state.state, self._state.error = "failed", "a fault of the program; the log names the cause"
                whole = False
            if whole:
                pause = self._pace.look
                await self._change()
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._change()
                pause = min(2 * pause, self._pace.longest)

    async def _change(self) -> None:
        """Return when the corpus is another one than that which was asked about, and rests; not for a while."""
        await asyncio.sleep(self._pace.rounds)
        before = self._asked_about
        while True:
            with contextlib.suppress(SibylError):  # the database is away: nobody can have changed it for us
                version = await self._runtime.corpus_version()
                if version == before != self._asked_about:
                    return
                before = version
            await asyncio.sleep(self._pace.look)

    async def _round(self) -> bool:
        """Ask every question; whether none failed. What was asked before is found, and costs nothing again."""
        version = self._asked_about = await self._runtime.corpus_version()
        self._state.state = "running"
        started = time.monotonic()
        counts: Counter[str] = Counter()
        for pipeline in self._pipelines:
            result = await self._runtime.run_pipeline(pipeline, {}, deadline=Deadline.after(None), ask=self._ask)
            for warmed in result.results.values():
                counts.update({outcome: warmed[outcome] for outcome in OUTCOMES})
                _tell_failures(pipeline, warmed["failures"])
        seconds = round(time.monotonic() - started, 3)
        self._metrics.ended(counts, seconds)
        asked = {outcome: counts[outcome] for outcome in OUTCOMES}
        self._state = WarmingState("warm", version, seconds, asked)
        logger.info("caches are warm", extra={"fields": {**asked, "seconds": seconds, "corpus_version": version}})
        return not counts["failed"]

    async def _ask(self, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> Answered:
        """Ask when users leave room for it."""
        await self._gate.room()
        if self._lifecycle.draining:
            await asyncio.Event().wait()  # until the service, which now stops, ends this task
        return await self._runtime.ask(tool, arguments, deadline.capped(self._timeout))

    def _failed(self, error: SibylError, *, first: bool) -> None:
        self._state.state, self._state.error = "failed", error.message
        if first:
            logger.warning("caches cannot be warmed, this is tried again: %s", error.message)


def _tell_failures(pipeline: str, failures: list[Mapping[str, str]]) -> None:
    for failure in failures:
        logger.warning("a question could not be asked ahead", extra={"fields": {"pipeline": pipeline, **failure}})


def warming_of(
    runtime: Warmable | None,
    gate: ConcurrencyGate,
    lifecycle: Lifecycle,
    metrics: WarmingMetrics | None,
    pace: Pace = Pace(),
) -> Warming | None:
    """The warming of a runtime; None where its workspace asks for none, or nothing is to be warmed here."""
    if runtime is None or metrics is None or not warming_pipelines(runtime.workspace):
        return None
    return Warming(runtime, gate, lifecycle, metrics, pace)
