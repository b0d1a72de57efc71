"""The documented answer of a tool. Apart from the routes, so that the command line prints the same without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.pipeline.context import StageTiming


def reply(tool: str, outcome: ToolOutcome, seconds: float, *, request_id: str | None) -> dict[str, Any]:
    """The documented answer {output, metadata}. `seconds` is the whole time that the call took."""
    return {
        "output": outcome.output,
        "metadata": {
            "tool": tool,
            "execution_time_ms": _milliseconds(seconds),
            "tokens_used": outcome.tokens_used,
            "cost_usd": outcome.cost_usd,
            "stages": stage_milliseconds(outcome.stages),
            **({"steps": outcome.steps} if outcome.steps else {}),
            "cache": outcome.cache,
            **_reuse(outcome),
            "request_id": request_id,
        },
    }


def cache_header(outcome: ToolOutcome) -> str:
    """`hit`, `miss` or `off`; more of an answer to another question: `hit; kind=semantic; similarity=0.97`."""
    if outcome.reuse is None or outcome.reuse.kind == "exact":
        return outcome.cache
    return f"{outcome.cache}; kind={outcome.reuse.kind}; similarity={_share(outcome.reuse.similarity)}"


def _reuse(outcome: ToolOutcome) -> dict[str, Any]:
    if outcome.reuse is None:
        return {}
    told: dict[str, Any] = {"cache_kind": outcome.reuse.kind}
    if outcome.reuse.question is not None:
        told |= {"similarity": _share(outcome.reuse.similarity), "answered_question": outcome.reuse.question}
    return told


def _share(similarity: float) -> float:
    return round(similarity, 4)


def stage_milliseconds(stages: Sequence[StageTiming]) -> Mapping[str, float]:
    """{"embed_ms": 2.1, ...}: time by stage, steps that share a stage added up, skipped steps left out."""
    totals: dict[str, float] = {}
    for timing in stages:
        if not timing.skipped:
            totals[timing.stage] = totals.get(timing.stage, 0.0) + timing.seconds
    return {f"{stage}_ms": _milliseconds(seconds) for stage, seconds in totals.items()}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
