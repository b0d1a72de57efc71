"""Step orders that are not refused, though they look like those that lose work; the refused ones are among the bad
documents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workspace.documents import problem_list

RETRIEVAL: dict[str, Any] = {"use": "rag.retrieval"}
RERANKING: dict[str, Any] = {"use": "rag.reranking", "config": {"subtechnique": "bm25"}}
AUGMENTATION: dict[str, Any] = {"use": "rag.augmentation"}
GENERATION: dict[str, Any] = {"use": "ai_generation.generation"}


def named(step: dict[str, Any], name: str, **more: Any) -> dict[str, Any]:
    return {**step, "name": name, **more}


def keeping(top_k: object) -> dict[str, Any]:
    return {"use": "rag.reranking", "config": {"subtechnique": "bm25", "top_k": top_k}}


@pytest.mark.parametrize(
    "steps",
    [
        [RETRIEVAL, RERANKING, AUGMENTATION, GENERATION],
        [RETRIEVAL, RERANKING],
        [RETRIEVAL, named(GENERATION, "draft"), RERANKING, GENERATION],
        [RETRIEVAL, named(AUGMENTATION, "first"), RERANKING, AUGMENTATION, GENERATION],
        [RETRIEVAL, GENERATION, named(RETRIEVAL, "again"), RERANKING],
        [RETRIEVAL, AUGMENTATION, {**RERANKING, "on_error": True}, GENERATION],
        [RETRIEVAL, keeping(5), GENERATION],
        [RETRIEVAL, keeping("${k}"), GENERATION],
        [{**RETRIEVAL, "config": {"top_k": "${k}"}}, keeping(50), GENERATION],
        [{**RETRIEVAL, "config": {"top_k": 20}}, named(RETRIEVAL, "words", on_error=True), keeping(10), GENERATION],
    ],
    ids=lambda steps: ", ".join(step.get("name") or step["use"].partition(".")[2] for step in steps),
)
def test_an_order_that_works_is_not_refused(steps: list[dict[str, Any]]) -> None:
    parameters = {"k": {"type": "integer", "default": 5}} if "${k}" in str(steps) else {}
    assert not problem_list({"pipelines": {"p": {"steps": steps, "parameters": parameters}}})


def test_what_all_steps_of_a_shop_share_is_meant_for_the_search() -> None:
    steps = [{**RETRIEVAL, "config": {"top_k": 5}}, RERANKING, GENERATION]
    shops = {"rag": {"config": {"top_k": 20}}}
    assert not problem_list({"shops": shops, "pipelines": {"p": {"steps": steps}}})
