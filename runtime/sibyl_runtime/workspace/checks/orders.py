"""Checks of what stands between a search and an answer: an order in which no step loses what another one did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep
from sibyl_runtime.workspace.errors import format_path
from sibyl_runtime.workspace.meaning import Layer, layers
from sibyl_runtime.workspace.step_configs import RetrievalConfig

RETRIEVAL, RERANKING = "rag.retrieval", "rag.reranking"
AUGMENTATION, GENERATION = "rag.augmentation", "ai_generation.generation"


def steps_use_each_other(context: Context) -> Iterator[Finding]:
    """The answer is written last, and the context that it is written from is made of chunks in their last order."""
    for steps in _by_pipeline(context):
        for step in steps:
            if step.step.use in (AUGMENTATION, RERANKING):
                yield from _too_late(step, steps, GENERATION)
            if step.step.use == RERANKING:
                yield from _too_late(step, steps, AUGMENTATION)


def _too_late(late: UsedStep, steps: Sequence[UsedStep], reader: str) -> Iterator[Finding]:
    """`late` works on chunks after the last step of `reader` has read them; one that mends a failure may."""
    reading = [one for one in steps if one.step.use == reader]
    if not reading or reading[-1].index > late.index or late.step.mends:
        return
    searched = any(one.step.use == RETRIEVAL for one in steps[reading[-1].index : late.index])
    if searched:  # chunks of a search of their own, which the reader was never to have
        return
    before = reading[-1].step.name
    yield Finding(
        (*late.at, "use"),
        f'"{late.step.name}" ({late.step.use}) works on the chunks after "{before}" ({reader}) has read them, so that '
        f"its work is lost; the order that works: {RETRIEVAL}, {late.step.use}, {reader}; put it before "
        f'"{before}"',
    )


def reranking_keeps_what_was_found(context: Context) -> Iterator[Finding]:
    """Reranking cannot keep more chunks than the searches before it return."""
    for steps in _by_pipeline(context):
        for step in steps:
            kept = _top_k(context, step) if step.step.use == RERANKING else None
            searches = [one for one in steps[: step.index] if one.step.use == RETRIEVAL]
            if kept is None or not searches:
                continue
            found = [_most_found(context, one) for one in searches]
            layer, most = kept
            if None in found or most <= max(one for one in found if one is not None):
                continue
            search = searches[-1]
            yield Finding(
                context.as_written((*layer.at, "top_k")),
                f'must not be above the chunks that "{search.step.name}" ({RETRIEVAL}) returns ({found[-1]}), found '
                f"{most}; lower it, or raise {format_path((*search.at, 'config', 'top_k'))}",
            )


def _by_pipeline(context: Context) -> Iterator[list[UsedStep]]:
    for name in context.workspace.pipelines:
        yield [used for used in context.steps() if used.pipeline == name]


def _most_found(context: Context, search: UsedStep) -> int | None:
    """The most chunks that a search returns; None where that is not known before a run."""
    written = _written(context, search)
    if written is None:
        return int(RetrievalConfig().top_k)
    return written[1] if isinstance(written[1], int) else None


def _top_k(context: Context, step: UsedStep) -> tuple[Layer, int] | None:
    """How many chunks a step that reranks is told to keep. What all steps of the shop share is meant for searches."""
    written = _written(context, step)
    if written is None or not isinstance(written[1], int):
        return None
    shared = written[0].at == ("shops", step.step.use.partition(".")[0], "config")
    return None if shared else written


def _written(context: Context, step: UsedStep) -> tuple[Layer, Any] | None:
    """The `top_k` that counts for a step, as the document writes it, and where."""
    if step.spec is None:
        return None
    layered = layers(context.workspace, step.pipeline, step.step, step.spec)
    found = [(layer, layer.config["top_k"]) for layer in layered if "top_k" in layer.config]
    return found[-1] if found else None
