"""Reranking: what comes out in which order, with which scores, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.answering import outcome_of
from sibyl_runtime.errors import Overloaded, StepFailed
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.providers.reranking import open_cross_encoder
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.reranking import Reranking
from sibyl_runtime.workspace import RerankingConfig
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts, ScriptedModel
from tests.support.tiny_cross_encoder import write_favouring

HITS = [
    Hit(1, "a", "Pools", "Pools", "A pool bounds connections.", 0.9, {}),
    Hit(2, "b", "Pools", "Pools > Sizes", "A pool bounds the connections.", 0.8, {}),
    Hit(3, "c", "Caches", "", "A cache keeps answers, tern tern.", 0.6, {}),
    Hit(4, "d", "", "", "The size of a cache.", 0.5, {}),
]
QUESTION = "What is the size of a pool?"


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(answer=Answer("3, 1", "m-1", 70, 5, "stop", (), Decimal("0.002")))


@pytest.fixture
def context(parts: Parts, model: ScriptedModel) -> StepContext:
    """A step after a retrieval that found HITS."""
    parts.models = {"default": model, "other": ScriptedModel("other", Answer("2, 4", "other-1", 1, 1, "stop"))}
    return step_context(parts.services(), {"query": QUESTION}, {"retrieval": {"chunks": HITS}})


async def run(context: StepContext, **config: Any) -> dict[str, Any]:
    return dict(await Reranking().run(context, RerankingConfig(**config)))


def ids(result: dict[str, Any]) -> str:
    return "".join(hit.document_id for hit in result["chunks"])


async def test_bm25_orders_by_the_words_of_title_heading_and_text(context: StepContext) -> None:
    result = await run(context, subtechnique="bm25")
    scores = [hit.rerank_score for hit in result["chunks"]]
    assert ids(result) == "dbac"
    assert scores == sorted(scores, reverse=True)
    assert (result["top_score"], result["avg_score"]) == (scores[0], pytest.approx(sum(scores) / 4))
    assert {name: result[name] for name in result if name not in ("chunks", "avg_score", "top_score")} == {
        "count": 4, "subtechnique": "bm25", "model": None, "candidates": 4, "shortened": 0, "fallback": False,
        "tokens": 0, "cost_usd": 0.0,
    }  # fmt: skip


async def test_a_chunk_keeps_its_similarity_beside_what_the_reranking_gave_it(context: StepContext) -> None:
    result = await run(context, subtechnique="bm25")
    assert {replace(hit, rerank_score=None) for hit in _hashable(result["chunks"])} == set(_hashable(HITS))


def _hashable(hits: list[Hit]) -> list[Hit]:
    return [replace(hit, metadata=()) for hit in hits]  # type: ignore[arg-type]  # a mapping has no hash


async def test_fusion_joins_the_order_found_and_the_order_of_words(context: StepContext) -> None:
    result = await run(context, subtechnique="fusion")
    by_words = ids(await run(context, subtechnique="bm25"))
    expected = {hit.document_id: 1 / (61 + place) for place, hit in enumerate(HITS)}
    for place, name in enumerate(by_words):
        expected[name] += 1 / (61 + place)
    assert {hit.document_id: hit.rerank_score for hit in result["chunks"]} == pytest.approx(expected)
    assert ids(result) == "".join(sorted(expected, key=lambda name: -expected[name]))


async def test_diversity_puts_what_says_the_same_behind_what_is_new(context: StepContext) -> None:
    result = await run(context, subtechnique="diversity", top_k=3)
    assert ids(result) == "acd"
    assert ids(await run(context, subtechnique="diversity", mmr_lambda=1.0)) == "abcd"
    assert all(hit.rerank_score is None for hit in result["chunks"])
    assert (result["top_score"], result["count"]) == (0.9, 3)


async def test_a_cross_encoder_reads_question_and_chunk_together(
    context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIBYL_CACHE_DIR", str(tmp_path / "cache"))
    encoder = await open_cross_encoder(str(write_favouring(tmp_path / "likes-terns", "tern", positions=32)), "model")
    context.services = replace(context.services, cross_encoders={"terns": encoder})
    result = await run(context, model="terns", top_k=2)
    await encoder.close()
    assert ids(result).startswith("c")
    assert result["model"].startswith("likes-terns@")
    assert result["top_score"] == result["chunks"][0].rerank_score > result["chunks"][1].rerank_score
    assert (result["candidates"], result["count"], result["shortened"]) == (4, 2, 0)


async def test_a_cross_encoder_that_is_not_open_is_named(context: StepContext) -> None:
    with pytest.raises(StepFailed, match='names the reranking model "terns", which is not open; open are: none'):
        await run(context, model="terns")


async def test_a_language_model_is_asked_once_for_the_chunks_to_keep(
    context: StepContext, model: ScriptedModel
) -> None:
    result = await run(context, subtechnique="llm", top_k=2)
    assert ids(result) == "ca"
    [request] = model.requests
    assert request.question == QUESTION
    assert "[2] Pools\nSizes\nA pool bounds the connections.\n\n[3] Caches\nA cache" in request.prompt
    assert "numbers of the 2 most helpful" in request.prompt
    assert {name: result[name] for name in ("model", "tokens", "cost_usd", "fallback", "top_score")} == {
        "model": "m-1", "tokens": 75, "cost_usd": 0.002, "fallback": False, "top_score": 0.9,
    }  # fmt: skip
    assert context.single_use == []


async def test_the_language_model_that_the_step_names_is_asked(context: StepContext, model: ScriptedModel) -> None:
    result = await run(context, subtechnique="llm", top_k=2, provider="other")
    assert (ids(result), result["model"], result["cost_usd"]) == ("bd", "other-1", None)
    assert model.requests == []


async def test_a_reply_that_is_no_order_leaves_the_order_found_and_is_told(
    context: StepContext, model: ScriptedModel
) -> None:
    model.answer = Answer("Passage 3 is best.", "m-1", 70, 5, "stop")
    result = await run(context, subtechnique="llm", top_k=2)
    assert ids(result) == "ab"
    assert (result["fallback"], result["tokens"]) == (True, 75)
    refused = "the reply of m-1 is not 2 different numbers from 1 to 4"
    assert context.notes[context.step]["fallbacks"] == [
        {"from": "default", "to": "order found", "reason": "provider_error", "message": refused}
    ]
    assert context.single_use == [f"step {context.step} fell back: provider_error"]


async def test_a_language_model_that_fails_fails_the_step(context: StepContext, model: ScriptedModel) -> None:
    model.answer = Overloaded("its rate limit is reached")
    with pytest.raises(Overloaded, match="its rate limit is reached"):
        await run(context, subtechnique="llm")


@pytest.mark.parametrize("subtechnique", ["cross_encoder", "llm", "bm25", "fusion", "diversity"])
async def test_without_chunks_nothing_is_asked(context: StepContext, model: ScriptedModel, subtechnique: str) -> None:
    context.results = {"retrieval": {"chunks": []}}
    result = await run(context, subtechnique=subtechnique)
    assert (result["chunks"], result["count"], result["avg_score"], result["top_score"]) == ([], 0, 0.0, 0.0)
    assert (result["candidates"], result["fallback"], model.requests) == (0, False, [])


async def test_where_nothing_was_searched_that_is_passed_on(context: StepContext) -> None:
    context.results = {}
    result = await run(context, subtechnique="bm25")
    assert (result["chunks"], result["count"], result["avg_score"], result["candidates"]) == (None, 0, 0.0, 0)


def told(result: PipelineResult) -> dict[str, Any]:
    return dict(outcome_of(result, cache="off").steps["reranking"])


@pytest.mark.parametrize(("bound", "runs"), [(1.1, True), (-1.0, False)])
async def test_the_condition_of_the_guide_decides_and_the_metadata_tells(
    parts: Parts, tmp_path: Path, bound: float, runs: bool
) -> None:
    for number, hit in enumerate(HITS):
        (tmp_path / f"{number}.txt").write_text(hit.content)
    reranking = {
        "use": "rag.reranking",
        "condition": f"${{retrieval.avg_score}} < {bound}",
        "config": {"subtechnique": "bm25", "top_k": 2},
    }
    steps = [{"use": "rag.retrieval", "config": {"top_k": 20}}, reranking, {"use": "ai_generation.generation"}]
    parts.document = {"pipelines": {"search": {"steps": steps}}}
    await parts.ingest(tmp_path)
    result = await parts.run("search", query=QUESTION)
    sources = result.results["generation"]["sources"]
    assert len(sources) == (2 if runs else 4)
    assert ["rerank_score" in source for source in sources] == [runs] * len(sources)
    assert [(timing.step, timing.skipped) for timing in result.stages if timing.stage == "rerank"] == [
        ("reranking", not runs)
    ]
    done = {
        "subtechnique": "bm25", "model": None, "candidates": 4, "shortened": 0, "kept": 2, "tokens": 0,
        "cost_usd": 0.0,
    }  # fmt: skip
    assert told(result) == (done if runs else {"skipped": True})


async def test_what_was_spent_on_the_order_is_part_of_what_the_answer_cost(
    parts: Parts, context: StepContext, model: ScriptedModel
) -> None:
    reranked = await run(context, subtechnique="llm", top_k=2)
    generated = {"answer": "yes", "sources": [], "tokens": 12, "model": "m", "cost_usd": 0.01}
    both = PipelineResult("search", {"reranking": reranked, "generation": generated}, (), 0.1)
    outcome = outcome_of(both, cache="off")
    assert outcome.tokens_used == 87
    assert outcome.cost_usd == pytest.approx(0.012)
    unknown = {"reranking": {**reranked, "cost_usd": None}, "generation": generated}
    assert outcome_of(replace(both, results=unknown), cache="off").cost_usd is None
