"""The `pipelines` section: named lists of steps, each a technique with its settings and, maybe, a condition.

A step may also be a group of steps that run at the same time. Groups do not nest: within one nothing comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from sibyl_runtime.workspace.base import FIELD_RULE, StrictModel, fail_field, planned
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.techniques import canonical_use
from sibyl_runtime.workspace.text import Identifier, Name, Text, is_identifier

FUSED: Final = "rag.retrieval"
"""The technique whose results may be made several times in a group: the chunks are fused by rank."""

PARALLEL: Final = ("parallel", "steps")
"""Where the steps of a group are, within the step that is the group."""


def _with_name(step: Any, shop: str | None = None) -> Any:
    """The written step with the canonical id in `use` and, unless it has one, a name."""
    group = step.get("parallel") if isinstance(step, dict) else None
    if shop is not None and isinstance(group, dict) and isinstance(group.get("steps"), list):
        return {**step, "parallel": {**group, "steps": [_with_name(one, shop) for one in group["steps"]]}}
    if not isinstance(step, dict) or not isinstance(step.get("use"), str):
        return step
    written = step["use"] if shop is None or "." in step["use"] else f"{shop}.{step['use']}"
    use = canonical_use(written)
    name = use.rpartition(".")[2]
    return {**({"name": name} if is_identifier(name) else {}), **step, "use": use}


def _error_policy(value: Any) -> Any:
    if value is True or value in ("fail", "continue"):
        return value
    raise PydanticCustomError(
        "text_rule", "must be {allowed}", {"allowed": "fail, continue, or true to run only after a failure"}
    )


class Step(StrictModel):
    """One use of a technique, or a group of steps in `parallel`, which has neither `use` nor `name`.

    After reading, `use` holds the canonical id, and `name` is never empty but for a group.
    """

    use: Text = Field("", description="The technique: <shop>.<technique>, such as rag.retrieval.")
    parallel: Parallel | None = Field(None, description="Steps that run at the same time; in place of `use`.")
    config: dict[str, Any] = Field({}, description="Settings of this step; they win over those of the shop.")
    condition: Text | None = Field(None, description="The step runs only when this is true.")
    name: Identifier = Field("", description="How conditions refer to the step; none: the technique's short name.")
    timeout_s: float | None = Field(None, gt=0, le=86_400, description="Longest run of the step, in seconds.")
    output: str | None = planned("Name under which the result is kept.")
    on_error: Annotated[Any, AfterValidator(_error_policy)] = Field(
        "fail",
        description="fail: an error of the step ends the run. continue: the run goes on without the step. "
        "true: the step runs only when the one before it failed, and takes its place.",
    )
    always: bool = Field(False, description="Run the step also after a failure that ends the run.")
    cache: Any = planned("Keep the step's result.")

    @property
    def mends(self) -> bool:
        """True when the step runs only in place of the one before it, after that has failed."""
        return self.on_error is True

    @property
    def uses(self) -> Sequence[Step]:
        """The step itself, or the steps of the group."""
        return (self,) if self.parallel is None else self.parallel.steps

    @model_validator(mode="before")
    @classmethod
    def _canonical_use_and_name(cls, data: Any) -> Any:
        return _with_name(data)

    @model_validator(mode="after")
    def _one_use_or_a_group(self) -> Self:
        written = [name for name in type(self).model_fields if name in self.model_fields_set - {"parallel"}]
        if self.parallel is not None and written:
            fail_field(
                written[0], "is not for a group of parallel steps; write it at the steps of the group, or remove it"
            )
        if self.parallel is None and not self.use:
            fail_field("use", "is required: <shop>.<technique>, such as rag.retrieval, or parallel for a group")
        return self


class GroupedStep(Step):
    """One use of a technique that runs at the same time as the others of its group."""

    parallel: None = planned("Steps that run at the same time.")

    @model_validator(mode="before")
    @classmethod
    def _no_group_in_a_group(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("parallel") is not None:
            message = "is a group within a group; put its steps into the outer one"
            raise PydanticCustomError(FIELD_RULE, "{message}", {"message": message, "field": None})
        return data


class Parallel(StrictModel):
    """Steps that run at the same time. The group ends when all of them have."""

    steps: list[GroupedStep] = Field(min_length=2, description="What is done at the same time.")
    gather: Identifier = Field(
        "parallel_results", description="Name of the chunks of several searches of the group, fused by rank."
    )
    fail_fast: bool = Field(
        True, description="The first failure that ends the run breaks the other steps off; false: they end first."
    )
    timeout_s: float | None = Field(None, gt=0, le=86_400, description="Longest run of the group, in seconds.")

    @property
    def fuses(self) -> bool:
        """Whether several steps search, so that what they find becomes one order."""
        return sum(step.use == FUSED for step in self.steps) > 1


Step.model_rebuild()


def _within(group: Parallel, index: int) -> Iterator[tuple[Location, Step]]:
    for inner, step in enumerate(group.steps):
        yield (index, *PARALLEL, inner), step


class Budget(StrictModel):
    """Limits of what a run may spend."""

    max_cost_usd: float | None = Field(None, ge=0, description="Most dollars.")
    max_tokens: int | None = Field(None, ge=0, description="Most tokens.")
    max_requests: int | None = Field(None, ge=0, description="Most requests.")
    tracking_enabled: bool | None = Field(None, description="Count without limiting.")
    alert_threshold: float | None = Field(None, gt=0, le=1, description="Share of the limit at which to warn.")


class Pipeline(StrictModel):
    """Steps run in order, sharing their results."""

    shop: Name | None = Field(None, description="Shop of the steps whose `use` names a technique alone.")
    description: str | None = Field(None, description="What the pipeline is for.")
    timeout_s: float | None = Field(None, gt=0, le=86_400, description="Longest run, in seconds.")
    steps: list[Step] = Field(min_length=1, description="What is done, in order.")
    parameters: dict[Identifier, ToolParameter] = Field({}, description="Parameters that a run takes.")
    budget: Budget | None = planned("Limits of a run.")
    tests: list[Any] | None = planned("Examples that the pipeline must pass.")

    @cached_property
    def all_steps(self) -> tuple[Step, ...]:
        """Every use of a technique, in the order of the document: the steps of a group in place of the group."""
        return tuple(step for _, step in self.placed_steps)

    @cached_property
    def placed_steps(self) -> tuple[tuple[Location, Step], ...]:
        """`all_steps`, each with its place below `steps`: (0,), or (1, "parallel", "steps", 0) in a group."""
        return tuple(
            placed
            for index, step in enumerate(self.steps)
            for placed in (_within(step.parallel, index) if step.parallel is not None else [((index,), step)])
        )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        written = dict(data)
        if isinstance(data.get("parameters"), dict):
            written["parameters"] = {
                name: {"type": kind} if isinstance(kind, str) else kind for name, kind in data["parameters"].items()
            }
        if isinstance(data.get("shop"), str) and isinstance(data.get("steps"), list):
            written["steps"] = [_with_name(step, data["shop"]) for step in data["steps"]]
        return written
