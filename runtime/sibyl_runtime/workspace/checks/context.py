"""What the checks look at, and the form of what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.pipelines import Step
from sibyl_runtime.workspace.shops import canonical_shop
from sibyl_runtime.workspace.techniques import TECHNIQUES, TechniqueSpec


@dataclass(frozen=True)
class Finding:
    """A fault and its place in the document as written."""

    at: Location
    message: str


@dataclass(frozen=True)
class UsedStep:
    """A step of an effective pipeline. `spec` is None when no technique has the name."""

    pipeline: str
    index: int
    step: Step
    spec: TechniqueSpec | None

    @property
    def at(self) -> Location:
        """The step's place."""
        return ("pipelines", self.pipeline, "steps", self.index)


@dataclass(frozen=True)
class Context:
    """The document, read and raw. `resolved`: the values of the environment are in place."""

    workspace: Workspace
    raw: Mapping[str, Any]
    resolved: bool

    def shop_at(self, shop: str) -> Location:
        """The place of a shop, under the spelling that the document uses."""
        written = self.raw.get("shops")
        spellings = written if isinstance(written, Mapping) else {}
        return ("shops", next((name for name in spellings if canonical_shop(name) == shop), shop))

    def as_written(self, at: Location) -> Location:
        """The place `at`, its shop under the spelling that the document uses."""
        return (*self.shop_at(str(at[1])), *at[2:]) if len(at) > 1 and at[0] == "shops" else at

    def steps(self) -> Iterator[UsedStep]:
        """Every step of every pipeline, the built-in ones included."""
        for name, pipeline in self.workspace.effective_pipelines.items():
            for index, step in enumerate(pipeline.steps):
                yield UsedStep(name, index, step, TECHNIQUES.get(step.use))

    def built_in(self, pipeline: str) -> str:
        """A hint for messages about pipelines that the document does not hold."""
        return "" if pipeline in self.workspace.pipelines else " (built in)"


Check = Callable[[Context], Iterator[Finding]]
