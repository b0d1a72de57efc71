"""What the guide says of language models, read from what reaches the model's server over real HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sibyl_runtime.providers.llm.prices import ModelPrice
from sibyl_runtime.providers.protocols import GenerationRequest
from sibyl_runtime.workspace import WorkspaceInvalid
from tests.guide.running import TOOL, Place, ask, block, with_guide
from tests.guide.table import shows
from tests.providers.llm.test_connections import CountingServer
from tests.providers.llm.test_connections import server as counting_server
from tests.support.conditions import until
from tests.support.openai_server import completion, streamed
from tests.workspace.test_guide import merged

pytestmark = with_guide
QUESTION = "Which bird flies from pole to pole?"
TEXTS = {"birds.txt": "The Arctic tern is the bird that flies from pole to pole."}
counting = counting_server
"""The fixture of the tests of connections."""


async def cost_of(place: Place, part: int) -> tuple[str, float]:
    """The model that was asked, and what the answer cost."""
    place.llm.reply_with(completion())
    async with place.opened(place.document(block(211, part))) as runtime:
        await runtime.ingest(place.write(TEXTS))
        outcome = await ask(runtime, QUESTION)
    assert outcome.cost_usd is not None
    return place.llm.received[-1].body["model"], outcome.cost_usd


@shows(211, part=1, sets="`model` gpt-4", effect="This model is asked, and its answers cost what its price list says.")
@shows(
    211,
    part=2,
    sets="`model` gpt-3.5-turbo",
    effect="This model is asked, and the same answer costs less than a tenth of that of the first half. How fast a "
    "model is depends on its server and is not shown.",
)
async def test_a_cheaper_model_is_asked_and_costs_less(place: Place) -> None:
    dear, cheap = await cost_of(place, 1), await cost_of(place, 2)
    for (model, cost), expected in ((dear, "gpt-4"), (cheap, "gpt-3.5-turbo")):
        assert model == expected
        price = ModelPrice(model, place.llm.url).cost(prompt_tokens=100, completion_tokens=20, cached_tokens=0)
        assert price is not None
        assert cost == pytest.approx(float(price))
    assert cheap[1] < dear[1] / 10


@shows(228, sets="`max_tokens` 500, `stop_sequences`", effect="Both reach the model's server with every request.")
@shows(730, sets="`max_tokens` 500, `stop_sequences`", effect="As line 228: both reach the model's server.")
async def test_the_length_and_the_end_of_an_answer_reach_the_server(place: Place) -> None:
    for line in (228, 730):
        async with place.opened(place.document(block(line))) as runtime:
            await runtime.ingest(place.write(TEXTS))
            await ask(runtime, QUESTION)
        body = place.llm.received[-1].body
        assert body["max_tokens"] == 500
        assert body["stop"] == ["\n\n"]
    assert len(place.llm.received) == 2


@shows(
    237,
    sets="`subtechnique` streaming, `chunk_size` 10",
    effect="`POST /mcp/tools/{name}/stream` tells an answer of 25 words in three parts, of 10, 10 and 5.",
)
async def test_an_answer_comes_in_parts_of_ten(place: Place) -> None:
    words = ["word", *(f" w{chr(97 + number)}" for number in range(24))]
    place.llm.reply_with(streamed(*words))
    async with place.served(place.document(block(237)), TEXTS) as served:
        response = await served.api.post(f"/mcp/tools/{TOOL}/stream", json={"query": QUESTION})
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    parts = [event["content"] for event in events if event["type"] == "chunk"]
    assert "".join(parts) == "".join(words)
    assert [len(part.split()) for part in parts] == [10, 10, 5]
    assert place.llm.received[-1].body["stream"] is True


@shows(
    531,
    sets="`max_connections` 100, `keep_alive`",
    effect="Of 101 requests at once, 100 are under way on 100 connections; the last waits and goes over one of them.",
)
async def test_so_many_connections_are_made_and_used_again(place: Place, counting: CountingServer) -> None:
    raw = place.document(block(531))
    raw["providers"]["llm"]["primary"]["base_url"] = f"http://127.0.0.1:{counting.port}/v1"
    async with place.opened(raw) as runtime:
        model = runtime.services.language_models["primary"]
        request = GenerationRequest("Why?", (), "Why?")
        tasks = [asyncio.create_task(model.generate(request)) for _ in range(101)]
        await until(lambda: counting.waiting == 100)
        for _ in tasks:
            counting.permits.release()
        assert len(await asyncio.gather(*tasks)) == 101
        assert (counting.most_open, counting.accepted) == (100, 100)
    await until(lambda: counting.open == 0)


@shows(
    702,
    sets="two of `llm` by `model`, `complexity_threshold` 0.7, a template in `provider`",
    effect="A simple question is answered by the cheap model, a complex one by the dear one; the response says which, "
    "and how complex it was found. Alone the block does not work: the built-in pipeline `search` would not know which "
    "of the two models to ask, so the document has to write that pipeline or call a model `default`; and its own "
    "pipeline needs a `rag.retrieval` before the generation, which the checks name. The test adds both.",
)
async def test_a_question_is_routed_by_its_complexity(place: Place) -> None:
    raw: dict[str, Any] = place.document(block(702))
    raw["providers"]["llm"].pop("primary")  # which the block does not have
    with pytest.raises(WorkspaceInvalid, match=r'of pipeline "search" \(built in\) names none; call one of them'):
        async with place.opened(raw):
            pass
    raw = merged(raw, {"pipelines": {"search": {"steps": [{"use": "rag.retrieval"}]}}})
    alone = merged(raw, {"pipelines": block(702)["pipelines"]})
    with pytest.raises(WorkspaceInvalid, match=r"ai_generation\.generation works on what rag\.retrieval makes"):
        async with place.opened(alone):
            pass
    hard = (
        "Compare the migration of the Arctic tern with that of the swallow, explain why they differ, and analyse step "
        "by step what a warmer climate would change for both of them."
    )
    async with place.opened(raw) as runtime:
        await runtime.ingest(place.write(TEXTS))
        outcomes = [await ask(runtime, "What is a tern?"), await ask(runtime, hard)]
    told = [outcome.steps["generation"]["provider"] for outcome in outcomes]
    complexity = [outcome.steps["query_classifier"]["complexity"] for outcome in outcomes]
    assert complexity[0] < 0.7 <= complexity[1]
    assert [outcome.steps["query_classifier"]["threshold"] for outcome in outcomes] == [0.7, 0.7]
    assert told == ["simple", "complex"]
    assert [received.body["model"] for received in place.llm.received] == ["gpt-3.5-turbo", "gpt-4"]
