"""Augmentation: the chunks that stay, their numbers, and the context that the answer is written from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.augmentation import Augmentation
from sibyl_runtime.techniques.generation import Generation
from sibyl_runtime.workspace import AugmentationConfig, GenerationConfig
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts, ScriptedModel

HITS = [
    Hit(1, "a.md", "A", "", "Pools hold connections to the database.", 0.9, {}),
    Hit(2, "b.md", "B", "B > Caches", "Caches keep answers.", 0.8, {}),
    Hit(3, "c.md", "C", "", "pools hold connections to the DATABASE", 0.7, {}),
    Hit(4, "d.md", "D", "", "An index makes searches fast.", 0.3, {}),
]


@pytest.fixture
def context(parts: Parts) -> StepContext:
    """A step after a retrieval that found HITS."""
    return step_context(parts.services(), {"query": "q"}, {"retrieval": {"chunks": HITS}})


async def run(context: StepContext, **config: Any) -> dict[str, Any]:
    return dict(await Augmentation().run(context, AugmentationConfig(**config)))


async def test_the_context_has_the_best_at_both_ends_and_no_chunk_twice(context: StepContext, parts: Parts) -> None:
    result = await run(context)
    text = (
        "[1] A\nPools hold connections to the database.\n\n[3] D\nAn index makes searches fast.\n\n"
        "[2] B > Caches\nCaches keep answers."
    )
    assert result == {
        "chunks": [HITS[0], HITS[1], HITS[3]],
        "count": 3,
        "avg_score": pytest.approx(2 / 3),
        "top_score": 0.9,
        "dropped": 1,
        "context": text,
        "context_tokens": len(parts.embedder.tokenize(text)),
    }
    assert context.notes == {
        "step": {
            "chunks": 3, "dropped": 1, "context_tokens": result["context_tokens"], "order": "lost_in_the_middle",
        }
    }  # fmt: skip
    assert [timing.stage for timing in context.recorder.timings()] == ["augment"]


async def test_by_relevance_and_with_repetition_where_asked_for(context: StepContext) -> None:
    result = await run(context, order="relevance", deduplicate=False)
    assert re.findall(r"^\[(\d)\] (\w)", result["context"], re.MULTILINE) == [
        ("1", "A"), ("2", "B"), ("3", "C"), ("4", "D"),
    ]  # fmt: skip
    assert (result["chunks"], result["dropped"]) == (HITS, 0)


async def test_the_context_stays_within_its_budget_of_tokens(context: StepContext, parts: Parts) -> None:
    two = len(
        parts.embedder.tokenize(
            "[1] A\nPools hold connections to the database.\n\n[2] B > Caches\nCaches keep answers."
        )
    )
    for budget, count in [(two, 2), (two - 1, 1), (1, 1)]:
        result = await run(context, max_context_tokens=budget)
        assert result["count"] == count
        assert result["context_tokens"] == len(parts.embedder.tokenize(result["context"]))
        assert result["context_tokens"] <= max(budget, 13)


async def test_no_chunks_are_no_context(context: StepContext) -> None:
    context.results = {"retrieval": {"chunks": []}}
    assert await run(context) == {
        "chunks": [], "count": 0, "avg_score": 0.0, "top_score": 0.0, "dropped": 0, "context": "",
        "context_tokens": 0,
    }  # fmt: skip


async def test_where_nothing_was_searched_that_is_passed_on(context: StepContext) -> None:
    context.results = {}
    assert await run(context) == {
        "chunks": None, "count": 0, "avg_score": 0.0, "top_score": 0.0, "dropped": 0, "context": "",
        "context_tokens": 0,
    }  # fmt: skip


async def test_the_answer_is_written_from_the_context_and_sources_keep_their_numbers(
    context: StepContext, parts: Parts
) -> None:
    model = ScriptedModel(answer=Answer("Fast [3].", "m", 7, 5, "stop", (2,)))
    context = replace(context, services=replace(context.services, language_models={"default": model}))
    augmented = await run(context)
    context.results["augmentation"] = augmented
    generated = await Generation().run(context, GenerationConfig(prompt="{query}|{context}"))
    assert model.requests[0].prompt == f"q|{augmented['context']}"
    sources = [(source["document"], source["cited"]) for source in generated["sources"]]
    assert sources == [("a.md", False), ("b.md", False), ("d.md", True)]


async def test_chunks_that_a_later_step_chose_are_not_those_of_the_context(context: StepContext) -> None:
    model = ScriptedModel()
    context = replace(context, services=replace(context.services, language_models={"default": model}))
    context.results["augmentation"] = await run(context)
    context.results["retrieval_again"] = {"chunks": [HITS[3]]}
    await Generation().run(context, GenerationConfig(prompt="{query}|{context}"))
    assert model.requests[0].prompt == "q|[1] D\nAn index makes searches fast."


async def test_a_whole_run_answers_from_what_augmentation_kept(parts: Parts, tmp_path: Path) -> None:
    texts = {"pool": "Pools hold connections.", "copy": "Pools hold connections.", "cache": "Caches keep answers."}
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps({"id": name, "text": text}) for name, text in texts.items()))
    await parts.ingest(path)
    steps = [
        {"use": "rag.retrieval"},
        {"use": "rag.augmentation"},
        {"use": "ai_generation.generation", "condition": "${augmentation.dropped} == 1"},
    ]
    parts.document = {"pipelines": {"search": {"steps": steps}}}
    model = ScriptedModel()
    parts.models = {"default": model}
    result = await parts.run("search", query="What do pools hold?")
    assert [timing.stage for timing in result.stages] == ["embed", "retrieve", "augment", "generate"]
    assert len(result.results["generation"]["sources"]) == 2
    assert result.results["augmentation"]["context"] in model.requests[0].prompt
