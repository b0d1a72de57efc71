"""A step's context outside of a run, for tests of one technique alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_runtime.pipeline.context import Deadline, Services, StepContext


def step_context(
    services: Services,
    parameters: Mapping[str, Any] | None = None,
    results: dict[str, Mapping[str, Any]] | None = None,
    *,
    deadline: Deadline | None = None,
) -> StepContext:
    """The context of step `step` in pipeline `test`."""
    return StepContext(
        services=services,
        pipeline="test",
        step="step",
        parameters=parameters or {},
        results=results or {},
        deadline=deadline or Deadline.after(None),
    )
