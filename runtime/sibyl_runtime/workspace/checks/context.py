"""What the checks look at, and the form of what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.pipelines import Pipeline, Step
from sibyl_runtime.workspace.shops import canonical_shop
from sibyl_runtime.workspace.techniques import TECHNIQUES, TechniqueSpec


@dataclass(frozen=True)
class Finding:
    """A fault and its place in the document as written."""

    at: Location
    message: str


@dataclass(frozen=True)
class UsedStep:
    """A use of a technique in an effective pipeline. `spec` is None when no technique has the name.

    `index` is the place of the step, or of its group, in the pipeline: those of a group come at the same time.
    """

    pipeline: str
    index: int
    step: Step
    spec: TechniqueSpec | None
    within: Location = ()
    """The step's place in its group."""

    @property
    def at(self) -> Location:
        """The step's place."""
        return ("pipelines", self.pipeline, "steps", self.index, *self.within)

    @property
    def label(self) -> str:
        """The step's number, as messages name it: `2`, or `2.parallel.0` in a group."""
        return f"{self.index}.parallel.{self.within[-1]}" if self.within else str(self.index)


def uses(name: str, pipeline: Pipeline) -> Iterator[UsedStep]:
    """Every use of a technique in a pipeline, in order."""
    for place, step in pipeline.placed_steps:
        yield UsedStep(name, int(place[0]), step, TECHNIQUES.get(step.use), place[1:])


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
            yield from uses(name, pipeline)

    def built_in(self, pipeline: str) -> str:
        """A hint for messages about pipelines that the document does not hold."""
        return "" if pipeline in self.workspace.pipelines else " (built in)"


Check = Callable[[Context], Iterator[Finding]]
