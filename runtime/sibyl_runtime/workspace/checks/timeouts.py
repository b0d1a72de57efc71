"""Checks of `timeout_s`: a step that may take longer than what it is part of is never stopped by its own limit."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding, uses
from sibyl_runtime.workspace.errors import Location, number
from sibyl_runtime.workspace.pipelines import Pipeline

Limit = tuple[str, float]
"""The field that ends a run, and after how many seconds."""


def step_timeouts_have_effect(context: Context) -> Iterator[Finding]:
    """`timeout_s` of steps and groups, against the group, the pipeline, and the requests that run it."""
    for name, pipeline in context.workspace.pipelines.items():
        outer = _limits(context, name, pipeline)
        for index, step in enumerate(pipeline.steps):
            if step.parallel is not None:
                at: Location = ("pipelines", name, "steps", index, "parallel", "timeout_s")
                yield from _without_effect(at, step.parallel.timeout_s, outer)
        for used in uses(name, pipeline):
            group = pipeline.steps[used.index].parallel
            of_group = [] if group is None or group.timeout_s is None else [("timeout_s of its group", group.timeout_s)]
            yield from _without_effect((*used.at, "timeout_s"), used.step.timeout_s, [*of_group, *outer])


def _limits(context: Context, name: str, pipeline: Pipeline) -> list[Limit]:
    limits: list[Limit] = [] if pipeline.timeout_s is None else [("timeout_s of the pipeline", pipeline.timeout_s)]
    if any(tool.pipeline == name for tool in context.workspace.effective_tools.values()):
        limits.append(("mcp.timeout, the deadline of requests", context.workspace.mcp.timeout))
    return limits


def _without_effect(at: Location, seconds: float | None, limits: list[Limit]) -> Iterator[Finding]:
    if seconds is None or not limits:
        return
    field, limit = min(limits, key=lambda one: one[1])
    if seconds > limit:
        yield Finding(
            at,
            f"has no effect: {field} is {number(limit)} s, found {number(seconds)}; lower it, or raise that",
        )
