"""The classifier as a step: its results, its threshold, its time."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.techniques.query_classifier import QueryClassifier
from sibyl_runtime.workspace import QueryClassifierConfig, technique
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts

WHY = "Why is it slow?"


async def classified(parts: Parts, query: str, **config: Any) -> dict[str, Any]:
    context = step_context(parts.services(), {"query": query})
    found = dict(await QueryClassifier().run(context, QueryClassifierConfig(**config)))
    assert [timing.stage for timing in context.recorder.timings()] == ["classify"]
    return found


async def test_the_results_explain_themselves(parts: Parts) -> None:
    assert await classified(parts, WHY) == {
        "complexity": 0.4,
        "is_complex": False,
        "threshold": 0.7,
        "rules": [{"rule": "reasoning", "weight": 0.4, "found": ["why"]}],
    }


async def test_the_results_are_those_that_conditions_may_ask_for(parts: Parts) -> None:
    assert (await classified(parts, WHY)).keys() == technique(QueryClassifier.id).results.keys()


@pytest.mark.parametrize(("threshold", "complex_"), [(0.0, True), (0.4, True), (0.41, False), (1.0, False)])
async def test_the_threshold_decides_what_is_complex(parts: Parts, threshold: float, complex_: bool) -> None:
    assert (await classified(parts, WHY, complexity_threshold=threshold))["is_complex"] is complex_


async def test_without_a_question_there_is_nothing_to_judge(parts: Parts) -> None:
    with pytest.raises(InvalidParameters, match="`query` must be text that asks something"):
        await classified(parts, " ")


@pytest.mark.parametrize(("query", "answered"), [(WHY, False), ("Why is A better than B?", True)])
async def test_a_condition_can_ask_for_the_complexity(parts: Parts, query: str, answered: bool) -> None:
    parts.document = {
        "pipelines": {
            "ask": {
                "steps": [
                    {"use": "infrastructure.query_classifier"},
                    {"use": "rag.retrieval"},
                    {
                        "use": "ai_generation.generation",
                        "condition": "${query_classifier.is_complex} and ${query_classifier.complexity} >= 0.8",
                    },
                ]
            }
        }
    }
    result = await parts.run("ask", query=query)
    assert ("generation" in result.results) is answered
