"""Checks of what steps say about failures: that it can be heeded, and that no failure of an ingest is hidden."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.pipelines import Step

STORING = "data.store_vectors"
LAZY = frozenset({"data.load_documents", "rag.chunking", "rag.embedding"})
"""Steps whose work is done while the storing step takes what they make."""


def error_policies_can_work(context: Context) -> Iterator[Finding]:
    """`timeout_s`, `on_error` and `always` of every step."""
    for name, pipeline in context.workspace.pipelines.items():
        for index, step in enumerate(pipeline.steps):
            at = ("pipelines", name, "steps", index)
            for field, message in (*_of_ingest(step), *_of_order(step, index)):
                yield Finding((*at, field), message)


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


def _of_order(step: Step, index: int) -> Iterator[tuple[str, str]]:
    if step.mends and index == 0:
        yield "on_error", "true runs the step only when the one before it failed, and none comes before it; remove it"
    if step.mends and step.always:
        yield "always", "contradicts on_error: true, with which the step runs only after a failure; keep one of them"
