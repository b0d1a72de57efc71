"""Checks of what steps say about failures: that it can be heeded, and that no failure of an ingest is hidden."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep, uses
from sibyl_runtime.workspace.pipelines import Step

STORING = "data.store_vectors"
LAZY = frozenset({"data.load_documents", "rag.chunking", "rag.embedding"})
"""Steps whose work is done while the storing step takes what they make."""


def error_policies_can_work(context: Context) -> Iterator[Finding]:
    """`timeout_s`, `on_error` and `always` of every step."""
    for name, pipeline in context.workspace.pipelines.items():
        for used in uses(name, pipeline):
            for field, message in (*_of_ingest(used.step), *_of_order(used)):
                yield Finding((*used.at, field), message)


def _of_ingest(step: Step) -> Iterator[tuple[str, str]]:
    if step.use in LAZY and step.timeout_s is not None:
        yield (
            "timeout_s",
            f"has no effect on {step.use}, whose work is done while {STORING} takes what it makes; set it there, or "
            "set timeout_s of the pipeline",
        )
    if step.use in LAZY or step.use == STORING:
        for field in ("on_error", "always"):
            if getattr(step, field) not in ("fail", False):
                yield field, f"is not for {step.use}: an ingest that fails must say so; remove it"


def _of_order(used: UsedStep) -> Iterator[tuple[str, str]]:
    step = used.step
    if step.mends and used.within:
        yield (
            "on_error",
            "true runs the step only when the one before it failed, and none comes before it in a group; put it after "
            "the group, where it runs when a step of the group failed, or remove it",
        )
    elif step.mends and used.index == 0:
        yield "on_error", "true runs the step only when the one before it failed, and none comes before it; remove it"
    if step.mends and step.always:
        yield "always", "contradicts on_error: true, with which the step runs only after a failure; keep one of them"
