"""The `pipelines` section: named lists of steps, each a technique with its settings and, maybe, a condition."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from sibyl_runtime.workspace.base import StrictModel, planned
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.techniques import canonical_use
from sibyl_runtime.workspace.text import Identifier, Name, Text, is_identifier


def _with_name(step: Any, shop: str | None = None) -> Any:
    """The written step with the canonical id in `use` and, unless it has one, a name."""
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
    """One use of a technique. `use` holds the canonical id after reading; `name` is never empty after reading."""

    use: Text = Field(description="The technique: <shop>.<technique>, such as rag.retrieval.")
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

    @model_validator(mode="before")
    @classmethod
    def _canonical_use_and_name(cls, data: Any) -> Any:
        return _with_name(data)


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
