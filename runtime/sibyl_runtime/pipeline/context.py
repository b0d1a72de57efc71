"""What a step may see and use while it runs: the parts of the runtime, the parameters, the results before it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from sibyl_runtime.errors import StepFailed
from sibyl_runtime.pipeline.asking import Ask
from sibyl_runtime.pipeline.deadline import Deadline
from sibyl_runtime.pipeline.kept import NOTHING_KEPT, Kept
from sibyl_runtime.pipeline.ledger import IngestLedger, IngestProgress, Progress, SkippedFile
from sibyl_runtime.pipeline.listening import Event, Listener
from sibyl_runtime.pipeline.stream import Stream
from sibyl_runtime.pipeline.timing import StageRecorder, StageTiming
from sibyl_runtime.providers.protocols import CrossEncoder, Embedder, LanguageModel
from sibyl_runtime.store.records import VectorStore
from sibyl_runtime.workspace import Workspace

__all__ = [
    "Deadline",
    "Failure",
    "Fallback",
    "IngestLedger",
    "IngestProgress",
    "Progress",
    "Services",
    "SkippedFile",
    "StageTiming",
    "StepContext",
]

SEND: Final = "send"
"""Names, in the error of a deadline, the time in which the answer waits for its reader."""

AnyStream = TypeVar("AnyStream", bound=Stream[Any])


@dataclass(frozen=True)
class Services:
    """The open parts of a runtime. `language_models` is keyed by the provider's name in the workspace,
    `cross_encoders` by the model as the workspace names it."""

    workspace: Workspace
    embedder: Embedder
    store: VectorStore
    language_models: Mapping[str, LanguageModel]
    default_language_model: str
    cross_encoders: Mapping[str, CrossEncoder] = field(default_factory=dict)
    kept: Kept = NOTHING_KEPT


class Failure(Protocol):
    """What failed, as far as a caller is told: an error of the runtime, or what is kept of one."""

    @property
    def code(self) -> str:
        """The code of the error."""

    @property
    def message(self) -> str:
        """What happened, and what to do."""


@dataclass(frozen=True)
class Fallback:
    """A step that did its work without what it should have used; `reason` is the code of the error."""

    step: str
    reason: str


@dataclass
class StepContext:
    """One step of one run. `results` holds what the steps before it returned, by step name, in order."""

    services: Services
    pipeline: str
    step: str
    parameters: Mapping[str, Any]
    results: dict[str, Mapping[str, Any]]
    deadline: Deadline
    progress: Progress | None = None
    recorder: StageRecorder = field(default_factory=lambda: StageRecorder(""))
    single_use: list[str] = field(default_factory=list)
    """Reasons why the outcome of this run must not be kept for others; a step may add one."""
    unpriced: list[str] = field(default_factory=list)
    """Steps that asked a model in vain, which may charge for it: what the run cost is not known."""
    listener: Listener | None = None
    """Who hears the answer while it is made: set for the step whose answer will be the run's, None for all others."""
    ask: Ask | None = None
    """Calls tools of the runtime that this run is of."""

    async def tell(self, event: Event) -> None:
        """Let the listener hear `event`, at its own pace. Not timed: a slow reader is not a slow stage."""
        if self.listener is not None:
            self.recorder.running = (self.step, SEND)
            await self.listener(event)

    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What steps tell the caller of how they worked, by step: plain values, shown in the metadata of the answer."""
    fallbacks: list[Fallback] = field(default_factory=list)

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Measure what runs inside as `stage` of this step; turns of one stage add up."""
        return self.recorder.timed(self.step, stage)

    def note(self, **facts: Any) -> None:
        """Tell the caller something of how this step worked."""
        self.notes.setdefault(self.step, {}).update(facts)

    def fell_back(self, failure: Failure, *, wanted: str | None = None, used: str | None = None) -> None:
        """The step did without something that failed: the caller is told, it is counted, and nobody else is served.

        `wanted` is what failed, None for the step as a whole; `used` is what took its place, None when nothing did.
        """
        self.fallbacks.append(Fallback(self.step, failure.code))
        told = {"from": wanted or self.step, "to": used, "reason": failure.code, "message": failure.message}
        self.notes.setdefault(self.step, {}).setdefault("fallbacks", []).append(told)
        self.single_use.append(f"step {self.step} fell back: {failure.code}")

    def replaced_by(self, step: str) -> None:
        """Another step has done what this one could not."""
        self.notes[self.step]["fallbacks"][-1]["to"] = step

    def stream(self, kind: type[AnyStream], *, made_by: str) -> AnyStream:
        """The nearest earlier stream of this kind. Raises StepFailed naming the technique that has to come before."""
        for result in reversed(self.results.values()):
            for value in result.values():
                if isinstance(value, kind) and not value.taken:
                    return value
        raise self.failed(f"needs the result of a `{made_by}` step; put one before it")

    def failed(self, message: str) -> StepFailed:
        """The error for a step that cannot do its work, with its place."""
        return StepFailed(
            f"step `{self.step}` of pipeline `{self.pipeline}` {message}",
            details={"pipeline": self.pipeline, "step": self.step},
        )
