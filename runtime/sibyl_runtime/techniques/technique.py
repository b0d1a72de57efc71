"""What every technique is: an id, the stage that it is timed under, and one asynchronous method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sibyl_runtime.pipeline.context import StepContext


class Technique(Protocol):
    """One way of doing one step. Instances hold no state of a run."""

    @property
    def id(self) -> str:
        """The canonical id: `rag.retrieval`."""

    @property
    def stage(self) -> str:
        """The stage named when the step is skipped, or interrupted before it has timed anything."""

    @property
    def merges(self) -> frozenset[str]:
        """Parameters that the technique itself merges with its settings: a `${...}` of one does not replace them."""

    async def run(self, context: StepContext, config: Any) -> Mapping[str, Any]:
        """Do the step. `config` is the technique's own model; the keys returned are those of its TechniqueSpec.

        Raises SibylErrors on purpose; anything else is a fault that the engine wraps.
        """
