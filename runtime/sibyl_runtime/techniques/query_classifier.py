"""`infrastructure.query_classifier`: how complex the question is, so that later steps can choose what answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.techniques.complexity import complexity, shown
from sibyl_runtime.techniques.retrieval import question
from sibyl_runtime.workspace import QueryClassifierConfig


class QueryClassifier:
    """Reads the parameter `query`. Its results are there for conditions of steps and for the template of a provider."""

    id = "infrastructure.query_classifier"
    stage = "classify"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: QueryClassifierConfig) -> Mapping[str, Any]:
        """`complexity` is 0 to 1; `is_complex` says whether it reaches the threshold; `rules` explain it."""
        with context.timed("classify"):
            judged = complexity(question(context.parameters))
        found = {
            "complexity": judged.value,
            "is_complex": judged.value >= config.complexity_threshold,
            "threshold": config.complexity_threshold,
            "rules": [shown(rule) for rule in judged.fired],
        }
        context.note(**found)
        return found
