"""Query processing: what is searched for, and that no failure of the model ever costs an answer."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sibyl_runtime.answering import outcome_of
from sibyl_runtime.errors import DeadlineExceeded, InvalidParameters, Overloaded, ProviderError, SibylError
from sibyl_runtime.pipeline.context import Deadline, Fallback, StepContext
from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.store.records import Ranking
from sibyl_runtime.techniques.query_processing import QueryProcessing, first_tokens
from sibyl_runtime.techniques.query_prompts import PROMPTS
from sibyl_runtime.workspace import QueryProcessingConfig
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts, ScriptedModel

QUESTION = "How many clients at once?"
WRITING = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
RECORDS = [
    {"id": "pool", "text": "Connection pools bound the connections to the database."},
    {"id": "cache", "text": "A cache keeps answers for questions asked twice."},
    {"id": "index", "text": "An index makes the search for near vectors fast."},
]


def reply(text: str, *, finish_reason: str = "stop", cost: Decimal | None = Decimal("0.001")) -> Answer:
    return Answer(text, "scripted", 30, 12, finish_reason, (), cost)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(answer=reply("connection pool size"))


@pytest.fixture
def context(parts: Parts, model: ScriptedModel) -> StepContext:
    """A first step; the model that writes is `model`."""
    parts.document = {"providers": {"llm": {"default": WRITING, "quoting": {"kind": "extractive"}}}}
    parts.models = {"default": model, "quoting": ScriptedModel("quoting")}
    return step_context(parts.services(), {"query": QUESTION})


async def run(context: StepContext, **config: Any) -> dict[str, Any]:
    return dict(await QueryProcessing().run(context, QueryProcessingConfig(**config)))


@pytest.mark.parametrize(
    ("config", "answer", "queries", "passages"),
    [
        ({}, "connection pool size", [QUESTION, "connection pool size"], []),
        ({"include_original": False}, "connection pool size", ["connection pool size"], []),
        ({}, QUESTION.upper(), [QUESTION], []),
        ({"subtechnique": "expansion"}, '["pool", "slots"]', [QUESTION, f"{QUESTION} pool slots"], []),
        ({"subtechnique": "multi_query"}, "a\nb\nc\nd\ne", [QUESTION, "a", "b", "c"], []),
        ({"subtechnique": "multi_query", "max_queries": 2}, "a\nb\nc", [QUESTION, "a"], []),
        ({"subtechnique": "multi_query", "include_original": False}, "a\nb\nc\nd\ne", ["a", "b", "c", "d"], []),
        ({"subtechnique": "decomposition"}, '["What is a pool?", "How large?"]',
         [QUESTION, "What is a pool?", "How large?"], []),
        ({"subtechnique": "hyde"}, "Pools hold\nten clients.", [QUESTION], ["Pools hold\nten clients."]),
        ({"subtechnique": "hyde", "include_original": False}, "Ten clients.", [], ["Ten clients."]),
    ],
)  # fmt: skip
async def test_each_variant_makes_its_queries(
    context: StepContext,
    model: ScriptedModel,
    config: dict[str, Any],
    answer: str,
    queries: list[str],
    passages: list[str],
) -> None:
    model.answer = reply(answer)
    assert await run(context, **config) == {
        "queries": queries, "passages": passages, "count": len(queries) + len(passages), "fallback": False,
        "tokens": 42, "model": "scripted", "cost_usd": 0.001,
    }  # fmt: skip
    assert context.notes["step"] == {
        "subtechnique": config.get("subtechnique", "rewriting"), "queries": queries, "passages": passages,
        "tokens": 42, "model": "scripted", "cost_usd": 0.001,
    }  # fmt: skip
    assert (context.fallbacks, context.single_use) == ([], [])


@pytest.mark.parametrize(
    ("kind", "count"), [(kind, "3" if "{count}" in text else "") for kind, text in PROMPTS.items()]
)
async def test_the_model_gets_the_prompt_of_the_variant(
    context: StepContext, model: ScriptedModel, kind: str, count: str
) -> None:
    await run(context, subtechnique=kind, temperature=0.2)
    (request,) = model.requests
    assert request.prompt == PROMPTS[kind].replace("{query}", QUESTION).replace("{count}", count)
    assert (request.question, list(request.passages)) == (QUESTION, [])
    assert (request.max_tokens, request.temperature, request.timeout) == (256, 0.2, 5.0)


async def test_a_prompt_of_the_workspace_is_used_and_braces_of_a_question_are_text(
    context: StepContext, model: ScriptedModel
) -> None:
    context.parameters = {"query": "What is {count} in {{x}}?"}
    await run(context, subtechnique="multi_query", prompt="{count} {{as JSON}}: {query}")
    assert model.requests[0].prompt == "3 {as JSON}: What is {count} in {{x}}?"


@pytest.mark.parametrize(("left", "timeout"), [(None, 5.0), (30.0, 5.0), (4.0, 2.0)])
async def test_the_model_gets_at_most_half_of_what_the_deadline_leaves(
    context: StepContext, model: ScriptedModel, left: float | None, timeout: float
) -> None:
    context.deadline = Deadline.after(left, clock=lambda: 100.0)
    await run(context)
    assert model.requests[0].timeout == timeout


BAD_REPLIES = [
    (reply('{"a": 1}'), "the reply of the language model is JSON, but no list of texts"),
    (reply("a\nb"), "the reply of the language model holds several queries where one was asked for"),
    (
        reply("connection po", finish_reason="length"),
        "the reply of the language model ended early: length; max_tokens is 256",
    ),
]


@pytest.mark.parametrize(("answer", "message"), BAD_REPLIES)
async def test_a_reply_that_is_no_query_costs_what_it_cost_and_the_question_is_searched(
    context: StepContext, model: ScriptedModel, answer: Answer, message: str
) -> None:
    model.answer = answer
    assert await run(context, include_original=False) == {
        "queries": [QUESTION], "passages": [], "count": 1, "fallback": True,
        "tokens": 42, "model": "scripted", "cost_usd": 0.001,
    }  # fmt: skip
    assert context.notes["step"]["fallbacks"] == [
        {"from": "default", "to": "question", "reason": "provider_error", "message": message}
    ]
    assert context.fallbacks == [Fallback("step", "provider_error")]
    assert context.single_use == ["step step fell back: provider_error"]


async def test_a_passage_that_was_cut_is_still_a_passage(context: StepContext, model: ScriptedModel) -> None:
    model.answer = reply("Pools hold ten", finish_reason="length")
    assert (await run(context, subtechnique="hyde"))["passages"] == ["Pools hold ten"]
    model.answer = reply("Pools hold ten", finish_reason="content_filter")
    assert (await run(context, subtechnique="hyde"))["fallback"] is True


@pytest.mark.parametrize(
    ("failure", "cost"),
    [
        (ProviderError("401 from there"), 0.0),
        (Overloaded("rate limit", retry_after=7), 0.0),
        (DeadlineExceeded("no answer within 5 s"), None),
    ],
)
async def test_a_model_that_fails_costs_no_answer(
    context: StepContext, model: ScriptedModel, failure: SibylError, cost: float | None
) -> None:
    model.answer = failure
    result = await run(context)
    assert (result["queries"], result["fallback"]) == ([QUESTION], True)
    assert (result["tokens"], result["model"], result["cost_usd"]) == (0, None, cost)
    assert context.notes["step"]["fallbacks"] == [
        {"from": "default", "to": "question", "reason": failure.code, "message": failure.message}
    ]


async def test_a_model_that_hangs_is_waited_for_no_longer_than_said(context: StepContext, model: ScriptedModel) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    model.before = forever
    result = await run(context, timeout=0.05)
    assert (result["queries"], result["fallback"], result["cost_usd"]) == ([QUESTION], True, None)
    assert context.notes["step"]["fallbacks"][0]["message"] == "the language model wrote no query within 0.05 s"


async def test_a_timeout_of_something_else_is_a_fault(context: StepContext, model: ScriptedModel) -> None:
    model.answer = TimeoutError("a socket's")
    with pytest.raises(TimeoutError, match="a socket's"):
        await run(context)


async def test_texts_of_the_model_are_cut_to_what_the_embedding_model_reads(
    context: StepContext, model: ScriptedModel, parts: Parts
) -> None:
    parts.embedder.limit = 12
    model.answer = reply("one two three four five six seven eight nine ten eleven twelve")
    assert (await run(context, include_original=False))["queries"] == ["one two three four five six"]
    assert (await run(context, subtechnique="hyde"))["passages"] == ["one two three four five six seven eight nine ten"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(), tokens=st.integers(1, 8))
def test_a_text_that_was_cut_is_never_longer_than_said(embedder: LocalEmbedder, text: str, tokens: int) -> None:
    cut = first_tokens(text, tokens, embedder)
    assert text.startswith(cut)
    assert len(embedder.tokenize(cut)) <= tokens
    if len(embedder.tokenize(text)) <= tokens:
        assert cut == text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("quoting", '"quoting" is extractive, which only quotes, and a model that writes is needed; known: default'),
        ("other", 'no provider in providers.llm is called "other"; known: default'),
        ("{{ 1 }}", 'no provider in providers.llm is called "{{ 1 }}"; known: default'),
    ],
)
async def test_a_caller_who_names_a_model_that_cannot_write_is_told_so(
    parts: Parts, model: ScriptedModel, given: str, message: str
) -> None:
    steps = [{"use": "rag.query_processing", "config": {"provider": "${model}"}}, {"use": "rag.retrieval"}]
    parts.document = {
        "providers": {"llm": {"default": WRITING, "quoting": {"kind": "extractive"}}},
        "pipelines": {"search": {"steps": steps, "parameters": {"model": "string"}}},
    }
    with pytest.raises(InvalidParameters) as caught:
        await parts.run("search", query=QUESTION, model=given)
    assert caught.value.message == f"model: {message}"
    assert model.requests == []


async def test_a_query_must_ask_something(context: StepContext, model: ScriptedModel) -> None:
    context.parameters = {"query": " "}
    with pytest.raises(InvalidParameters, match="`query` must be text that asks something"):
        await run(context)
    assert model.requests == []


@pytest.fixture
async def stocked(parts: Parts, model: ScriptedModel, tmp_path: Path) -> Parts:
    """The three records, stored; pipelines that search with and without processing, over `model`."""
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in RECORDS))
    await parts.ingest(path)
    parts.models = {"default": model}
    return parts


def searching(retrieval: dict[str, Any] | None = None, **processing: Any) -> dict[str, Any]:
    return {
        "providers": {"llm": {"default": WRITING}},
        "pipelines": {
            "search": {
                "steps": [
                    {"use": "rag.query_processing", "config": processing},
                    {"use": "rag.retrieval", "config": retrieval or {}},
                ]
            }
        },
    }


async def test_retrieval_searches_for_every_query_and_fuses_the_orders(stocked: Parts, model: ScriptedModel) -> None:
    model.answer = reply('["questions asked twice", "near vectors"]')
    stocked.document = searching({"top_k": 2}, subtechnique="multi_query")
    result = await stocked.run("search", query="zwxq")
    assert stocked.embedder.queries == ["zwxq", "questions asked twice", "near vectors"]
    assert [search["ranking"] for search in stocked.store.searches] == [
        Ranking("hybrid", "zwxq"), Ranking("hybrid", "questions asked twice"), Ranking("hybrid", "near vectors"),
    ]  # fmt: skip
    assert {search["top_k"] for search in stocked.store.searches} == {20}
    retrieval = result.results["retrieval"]
    assert {hit.document_id for hit in retrieval["chunks"]} == {"cache", "index"}
    assert retrieval["count"] == 2
    assert retrieval["top_score"] == max(hit.score for hit in retrieval["chunks"])
    assert [timing.stage for timing in result.stages] == ["process_query", "embed", "retrieve"]


async def test_a_query_of_other_words_finds_what_the_question_does_not(stocked: Parts, model: ScriptedModel) -> None:
    keyword = {"subtechnique": "keyword"}
    stocked.document = {"shops": {"rag": {"techniques": {"retrieval": keyword}}}}
    assert await stocked.search("simultaneous clients") == []
    model.answer = reply("connections database")
    stocked.document = searching(keyword)
    assert [hit.document_id for hit in await stocked.search("simultaneous clients")] == ["pool"]


async def test_a_passage_is_embedded_as_a_document_and_found_by_its_likeness(
    stocked: Parts, model: ScriptedModel
) -> None:
    passage = RECORDS[2]["text"]
    model.answer = reply(passage)
    stocked.document = searching({"subtechnique": "vector"}, subtechnique="hyde", include_original=False)
    stocked.embedder.documents.clear()
    hits = await stocked.search("What?")
    assert (stocked.embedder.documents, stocked.embedder.queries) == ([passage], [])
    assert hits[0].document_id == "index"
    assert hits[0].score > 0.7


@pytest.mark.parametrize("strategy", ["hybrid", "vector", "keyword", "mmr"])
async def test_every_strategy_takes_several_queries(stocked: Parts, model: ScriptedModel, strategy: str) -> None:
    model.answer = reply('["answers asked twice", "search for near vectors"]')
    stocked.document = searching({"subtechnique": strategy, "top_k": 2}, subtechnique="multi_query")
    hits = await stocked.search("connections to the database")
    assert len({hit.chunk_id for hit in hits}) == len(hits) == 2


async def test_without_the_step_there_is_one_search_of_as_many_chunks_as_asked_for(stocked: Parts) -> None:
    stocked.document = searching()
    stocked.document["pipelines"]["search"]["steps"][0]["condition"] = "1 > 2"
    await stocked.run("search", query=QUESTION)
    assert [(search["top_k"], search["ranking"].text) for search in stocked.store.searches] == [(5, QUESTION)]


async def test_a_condition_may_ask_how_the_step_worked(stocked: Parts, model: ScriptedModel) -> None:
    stocked.document = searching()
    stocked.document["pipelines"]["search"]["steps"].append(
        {
            "use": "ai_generation.generation",
            "condition": "${query_processing.fallback} or ${query_processing.count} > 1",
        }
    )
    model.answer = reply(QUESTION)
    assert "generation" not in (await stocked.run("search", query=QUESTION)).results
    model.answer = reply("pool size")
    assert "generation" in (await stocked.run("search", query=QUESTION)).results


async def test_what_the_queries_cost_is_part_of_what_the_answer_costs(stocked: Parts, model: ScriptedModel) -> None:
    stocked.document = searching()
    stocked.document["pipelines"]["search"]["steps"].append({"use": "ai_generation.generation"})
    outcome = outcome_of(await stocked.run("search", query=QUESTION), cache="off")
    assert (outcome.tokens_used, outcome.cost_usd) == (84, 0.002)
    assert outcome.steps["query_processing"]["queries"] == [QUESTION, "connection pool size"]
    model.answer = reply("pool size", cost=None)
    assert outcome_of(await stocked.run("search", query=QUESTION), cache="off").cost_usd is None


async def test_a_search_after_a_fallback_serves_nobody_else(stocked: Parts, model: ScriptedModel) -> None:
    stocked.document = searching()
    model.answer = ProviderError("refused")
    result = await stocked.run("search", query="connections to the database")
    assert result.results["retrieval"]["chunks"][0].document_id == "pool"
    assert result.reusable is False
