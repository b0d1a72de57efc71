"""A service warms its caches by itself: once it answers, and again when its documents have changed.

What changes the corpus makes every kept answer unreachable at once, so that each change costs a round. A round waits
until changes have ended, and rounds keep a distance: while documents stream in, questions are not asked over and over.
Calls of users go first. Questions are asked only while few of the places for calls are taken, and a service that stops
asks none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
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


State = Literal["waiting", "running", "warm", "partly", "cold", "failed"]


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
    """What /health tells. After a round: `warm`; `partly`, some questions failed or have answers that are not kept;
    `cold`, nothing is kept, as nothing was found for any question; `failed`, none could be asked. `corpus_version` is
    what was asked about; `queries`, by outcome, and `seconds` are of the last round."""

    state: State = "waiting"
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
        self._gate = gate
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._pace = pace
        self._state = WarmingState()
        self._asked_about: int | None = None
        """The version of the corpus in the last round, whole or not."""
        self._answered: set[str] = set()
        """What was answered about that version."""
        self._told = ""

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
            await asyncio.wait({task})

    async def _rounds(self) -> None:
        pause = self._pace.look
        while True:
            try:
                whole = await self._round()
                await self._worth_asking(None if whole else pause)
            except SibylError as error:
                self._failed(error.message)
                whole = False
                await asyncio.sleep(pause)
            except Exception:
                logger.exception("a round of warming failed, this is tried again")
                self._failed("a fault of the program; the log names the cause")
                whole = False
                await asyncio.sleep(pause)
            pause = self._pace.look if whole else min(2 * pause, self._pace.longest)

    async def _worth_asking(self, pause: float | None) -> None:
        """Return when the corpus rests and is another one than that which was asked about; or after `pause`, with what
        failed."""
        begun = time.monotonic()
        await asyncio.sleep(self._pace.rounds if pause is None else min(pause, self._pace.rounds))
        before = self._asked_about
        while True:
            due = pause is not None and time.monotonic() - begun >= pause
            with contextlib.suppress(SibylError):  # the database is away: nothing can be asked of it
                version = await self._runtime.corpus_version()
                if version == before and (due or version != self._asked_about):
                    return
                before = version
            await asyncio.sleep(self._pace.look)

    async def _round(self) -> bool:
        """Ask every question, but for those that were answered about the same corpus; whether none failed."""
        version = await self._runtime.corpus_version()
        if version != self._asked_about:
            self._answered.clear()
        self._asked_about = version
        self._state.state, self._state.error = "running", None
        started = time.monotonic()
        counts: Counter[str] = Counter()
        error: SibylError | None = None
        for pipeline in self._pipelines:
            try:
                result = await self._runtime.run_pipeline(pipeline, {}, deadline=Deadline.after(None), ask=self._ask)
            except SibylError as caught:
                error = caught
                continue
            for warmed in result.results.values():
                counts.update({outcome: warmed[outcome] for outcome in OUTCOMES})
                _tell_failures(pipeline, warmed["failures"])
        seconds = round(time.monotonic() - started, 3)
        self._metrics.ended(counts, seconds)
        asked = {outcome: counts[outcome] for outcome in OUTCOMES}
        self._state = WarmingState(_state_of(counts, error), version, seconds, asked)
        if error is not None:
            self._failed(error.message, state=self._state.state)
        fields = {"state": self._state.state, **asked, "seconds": seconds, "corpus_version": version}
        logger.info("questions were asked ahead", extra={"fields": fields})
        return error is None and not counts["failed"]

    async def _ask(self, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> Answered:
        """Ask when users leave room for it. What an earlier try has answered costs nothing again, kept or not."""
        asked = json.dumps([tool, arguments], sort_keys=True, default=str)
        if asked in self._answered:
            return Answered("found")
        await self._gate.room()
        if self._lifecycle.draining:
            await asyncio.Event().wait()  # until the service, which now stops, ends this task
        answered = await self._runtime.ask(tool, arguments, deadline)
        self._metrics.spent(answered.cost_usd)
        if answered.outcome != "lost":
            self._answered.add(asked)
        return answered

    def _failed(self, message: str, *, state: State = "failed") -> None:
        """The log has each reason once, until another one comes."""
        self._state.state, self._state.error = state, message
        if message != self._told:
            self._told = message
            logger.warning("caches cannot be warmed, this is tried again: %s", message)


def _state_of(counts: Mapping[str, int], error: SibylError | None) -> State:
    kept = counts["computed"] + counts["found"]
    if error is not None or counts["failed"]:
        return "partly" if kept else "failed"
    if not kept:
        return "cold"
    return "partly" if counts["unkept"] else "warm"


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
