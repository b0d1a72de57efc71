"""Generation: what the model is asked, what comes back, and who is not asked at all."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sibyl_runtime.errors import DeadlineExceeded, Overloaded, ProviderError, SibylError, StepFailed
from sibyl_runtime.pipeline.context import Deadline, StepContext
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.generation import NO_SEARCH, NOTHING_FOUND, Generation
from sibyl_runtime.workspace import DEFAULT_PROMPT, GenerationConfig
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts, ScriptedModel

HITS = [
    Hit(1, "guide.md", "Guide", "Guide > Pools", "Pools hold {query} connections.", 0.9, {"lang": "en"}),
    Hit(2, "r7", "", "", "Caches keep answers.", 0.5, {}),
]


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def context(parts: Parts, model: ScriptedModel) -> StepContext:
    """A step after a retrieval that found HITS; the default model is `model`."""
    parts.models = {"default": model, "other": ScriptedModel("other", Answer("Other.", "other-1", 1, 1, "stop"))}
    return step_context(parts.services(), {"query": "What do pools hold?"}, {"retrieval": {"chunks": HITS}})


async def run(context: StepContext, **config: Any) -> dict[str, Any]:
    return dict(await Generation().run(context, GenerationConfig(**config)))


async def test_an_answer_comes_with_every_chunk_as_a_source(context: StepContext, model: ScriptedModel) -> None:
    model.answer = Answer("Caches keep answers [2].", "m-1", 70, 5, "stop", (1,), Decimal("0.0021"))
    assert await run(context) == {
        "answer": "Caches keep answers [2].",
        "sources": [
            {
                "title": "Guide", "content": "Pools hold {query} connections.", "score": 0.9, "document": "guide.md",
                "heading": "Guide > Pools", "metadata": {"lang": "en"}, "cited": False,
            },
            {
                "title": "r7", "content": "Caches keep answers.", "score": 0.5, "document": "r7", "heading": "",
                "metadata": {}, "cited": True,
            },
        ],
        "tokens": 75,
        "prompt_tokens": 70,
        "completion_tokens": 5,
        "model": "m-1",
        "cost_usd": 0.0021,
        "finish_reason": "stop",
        "provider": "default",
        "attempts": 1,
        "fallback": False,
    }  # fmt: skip
    assert context.single_use == []
    assert context.notes["step"] == {
        "provider": "default", "model": "m-1", "attempts": 1, "tokens": 75, "cost_usd": 0.0021,
    }  # fmt: skip


async def test_the_model_gets_question_passages_and_prompt(context: StepContext, model: ScriptedModel) -> None:
    await run(context, max_tokens=99, temperature=0.3, stop_sequences=["END"])
    (request,) = model.requests
    assert request.question == "What do pools hold?"
    assert [passage.title for passage in request.passages] == ["Guide > Pools", "r7"]
    assert request.prompt == DEFAULT_PROMPT.replace("{query}", "What do pools hold?").replace(
        "{context}", "[1] Guide > Pools\nPools hold {query} connections.\n\n[2] r7\nCaches keep answers."
    )
    assert (request.max_tokens, request.temperature, request.stop_sequences) == (99, 0.3, ("END",))
    assert request.timeout is None


async def test_the_model_gets_what_is_left_of_the_deadline(context: StepContext, model: ScriptedModel) -> None:
    now = 100.0
    context.deadline = Deadline.after(8, clock=lambda: now)
    now = 103.0
    await run(context)
    assert model.requests[0].timeout == 5.0


async def test_a_prompt_of_the_workspace_and_a_system_prompt_are_used(
    context: StepContext, model: ScriptedModel
) -> None:
    await run(context, prompt="Ask {query}", system_prompt="Be {brief}.")
    assert model.requests[0].prompt == "Be {brief}.\n\nAsk What do pools hold?"


async def test_another_provider_can_be_named(context: StepContext, model: ScriptedModel) -> None:
    assert (await run(context, provider="other"))["model"] == "other-1"
    assert model.requests == []
    with pytest.raises(StepFailed, match='names the language model "third"; known: default, other'):
        await run(context, provider="third")


async def test_without_chunks_no_model_is_asked(context: StepContext, model: ScriptedModel) -> None:
    context.results = {"retrieval": {"chunks": []}}
    assert await run(context) == {
        "answer": NOTHING_FOUND, "sources": [], "tokens": 0, "prompt_tokens": 0, "completion_tokens": 0, "model": None,
        "cost_usd": 0.0, "finish_reason": "stop", "provider": None, "attempts": 0, "fallback": False,
    }  # fmt: skip
    assert model.requests == []
    assert context.notes["step"]["unanswered"] == "nothing_found"


@pytest.mark.parametrize("passed_on", [{}, {"reranking": {"chunks": None, "count": 0}}])
async def test_where_nothing_was_searched_the_answer_does_not_say_that_nothing_was_found(
    context: StepContext, model: ScriptedModel, passed_on: dict[str, Any]
) -> None:
    context.results = passed_on
    result = await run(context)
    assert (result["answer"], result["sources"], model.requests) == (NO_SEARCH, [], [])
    assert context.notes["step"] == {
        "provider": None, "model": None, "attempts": 0, "unanswered": "not_searched",
    }  # fmt: skip


async def test_a_price_that_is_not_known_is_not_zero(context: StepContext, model: ScriptedModel) -> None:
    assert (await run(context))["cost_usd"] is None


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_short_serves_nobody_else(
    context: StepContext, model: ScriptedModel, reason: str
) -> None:
    assert isinstance(model.answer, Answer)
    model.answer = replace(model.answer, finish_reason=reason)
    await run(context)
    assert context.single_use == [f"the answer ended early: {reason}"]


@pytest.mark.parametrize(
    "failure",
    [
        ProviderError("openai refused: 401", details={"provider": "default", "status": 401}),
        Overloaded("rate limit", retry_after=7),
        ProviderError("openai failed: 500", details={"status": 500}),
        DeadlineExceeded("no answer within 5 s"),
    ],
)
async def test_what_a_model_refuses_reaches_the_caller_as_it_is(
    parts: Parts, model: ScriptedModel, tmp_path: Any, failure: SibylError
) -> None:
    (tmp_path / "a.txt").write_text("Pools hold connections.")
    await parts.ingest(tmp_path)
    model.answer = failure
    parts.models = {"default": model}
    with pytest.raises(type(failure)) as caught:
        await parts.run("search", query="pools")
    assert caught.value is failure
    assert caught.value.retry_after == failure.retry_after


async def test_the_extractive_model_answers_from_what_was_ingested(parts: Parts, tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("Connection pools bound the number of connections. Caches keep answers.")
    await parts.ingest(tmp_path)
    result = await parts.run("search", query="What bounds the number of connections?")
    generated = result.results["generation"]
    assert "Connection pools bound the number of connections." in generated["answer"]
    assert generated["sources"][0]["cited"] is True
    assert generated["cost_usd"] == 0.0
