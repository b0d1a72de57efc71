"""Generation that is told while it is made, and generation of an object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from sibyl_runtime.errors import ProviderError
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.pipeline.listening import AnswerText, Event, SourcesFound
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.providers.protocols import GenerationRequest
from sibyl_runtime.techniques.generation import NOTHING_FOUND, Generation
from sibyl_runtime.techniques.structured import read_answer
from sibyl_runtime.workspace import AnswerSchema, GenerationConfig
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts, ScriptedModel
from tests.techniques.test_generation import HITS

SCHEMA = {"type": "object", "properties": {"limit": {"type": "integer"}}, "required": ["limit"]}


@dataclass
class Replies(ScriptedModel):
    """Answers in turn."""

    answers: list[Answer] = field(default_factory=list)

    async def generate(self, request: GenerationRequest) -> Answer:
        self.requests.append(request)
        return self.answers.pop(0)


def reply(text: str, *, finish_reason: str = "stop", cost: str | None = "0.01") -> Answer:
    return Answer(text, "m-1", 10, 2, finish_reason, cost_usd=None if cost is None else Decimal(cost))


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def context_of(parts: Parts, heard: list[Event]) -> Callable[[ScriptedModel], StepContext]:
    """A step after a retrieval that found HITS, with somebody who listens."""

    def make(model: ScriptedModel) -> StepContext:
        parts.models = {"default": model}
        context = step_context(parts.services(), {"query": "What do pools hold?"}, {"retrieval": {"chunks": HITS}})

        async def listen(event: Event) -> None:
            heard.append(event)

        context.listener = listen
        return context

    return make


async def run(context: StepContext, **config: Any) -> dict[str, Any]:
    return dict(await Generation().run(context, GenerationConfig.model_validate(config)))


async def test_sources_come_first_and_then_the_answer_in_pieces(
    context_of: Callable[[ScriptedModel], StepContext], heard: list[Event]
) -> None:
    model = ScriptedModel(answer=Answer("Pools hold connections [1].", "m-1", 7, 5, "stop", (0,)))
    result = await run(context_of(model), subtechnique="streaming", chunk_size=2)
    first, *texts = heard
    assert isinstance(first, SourcesFound)
    assert [source["document"] for source in first.sources] == ["guide.md", "r7"]
    assert all("cited" not in source for source in first.sources)
    told = [event.text for event in texts if isinstance(event, AnswerText)]
    assert len(told) > 3
    assert "".join(told) == result["answer"] == "Pools hold connections [1]."
    assert [source["cited"] for source in result["sources"]] == [True, False]


async def test_standard_is_not_told_in_pieces_and_streaming_without_a_listener_asks_for_no_stream(
    context_of: Callable[[ScriptedModel], StepContext], heard: list[Event]
) -> None:
    context = context_of(ScriptedModel())
    await run(context)
    assert [type(event) for event in heard] == [SourcesFound]
    context.listener = None
    assert (await run(context, subtechnique="streaming"))["answer"] == "It does [1]."
    assert len(heard) == 1


async def test_an_object_that_fits_is_the_answer_parsed(context_of: Callable[[ScriptedModel], StepContext]) -> None:
    model = Replies(answers=[reply('```json\n{"limit": 8}\n```')])
    result = await run(context_of(model), subtechnique="structured", answer_schema=SCHEMA)
    assert (result["structured"], result["tokens"]) == ({"limit": 8}, 12)
    (request,) = model.requests
    assert request.answer_schema == {**SCHEMA, "additionalProperties": False}
    assert '"required": ["limit"]' in request.prompt


async def test_one_that_does_not_fit_is_repaired_once_and_both_attempts_are_paid(
    context_of: Callable[[ScriptedModel], StepContext],
) -> None:
    model = Replies(answers=[reply('{"limit": "eight"}'), reply('{"limit": 8}')])
    result = await run(context_of(model), subtechnique="structured", answer_schema=SCHEMA)
    assert (result["structured"], result["tokens"], result["cost_usd"]) == ({"limit": 8}, 24, 0.02)
    repair = model.requests[1].prompt
    assert '{"limit": "eight"}' in repair
    assert '- answer.limit: must be a whole number, found "eight"' in repair


async def test_the_cost_is_not_known_when_that_of_one_attempt_is_not(
    context_of: Callable[[ScriptedModel], StepContext],
) -> None:
    model = Replies(answers=[reply("no"), reply('{"limit": 8}', cost=None)])
    assert (await run(context_of(model), subtechnique="structured", answer_schema=SCHEMA))["cost_usd"] is None


async def test_a_second_answer_that_does_not_fit_is_an_error_with_the_places(
    context_of: Callable[[ScriptedModel], StepContext],
) -> None:
    model = Replies(answers=[reply("no"), reply('{"limits": 8}'), reply('{"limit": 8}')])
    with pytest.raises(ProviderError) as caught:
        await run(context_of(model), subtechnique="structured", answer_schema=SCHEMA)
    assert caught.value.message == (
        "provider default (m-1): the answer does not fit its schema, also after one repair: answer.limits: unknown "
        "key. Did you mean limit?; answer.limit: is required; give a whole number"
    )
    assert len(caught.value.details["problems"]) == 2
    assert len(model.requests) == 2


async def test_an_answer_that_was_cut_short_is_not_repaired(context_of: Callable[[ScriptedModel], StepContext]) -> None:
    model = Replies(answers=[reply('{"limit": ', finish_reason="length")])
    with pytest.raises(ProviderError, match="was cut short before its JSON was complete; raise max_tokens"):
        await run(context_of(model), subtechnique="structured", answer_schema=SCHEMA)


async def test_where_nothing_was_found_there_is_no_object(context_of: Callable[[ScriptedModel], StepContext]) -> None:
    context = context_of(Replies())
    context.results = {"retrieval": {"chunks": []}}
    result = await run(context, subtechnique="structured", answer_schema=SCHEMA)
    assert (result["answer"], result["structured"]) == (NOTHING_FOUND, None)


UNREADABLE = [
    ("", "answer: is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ('{"limit": NaN}', "answer: is not JSON: NaN is not a number of JSON"),
    ("[" * 100_000, "answer: is not JSON that can be read: it is nested too deeply"),
    ("7", "answer: must be a mapping, found 7"),
]


@pytest.mark.parametrize(("text", "problem"), UNREADABLE, ids=["empty", "nan", "deep", "number"])
def test_what_is_no_json_object_is_told(text: str, problem: str) -> None:
    assert read_answer(text, AnswerSchema.model_validate(SCHEMA)) == ({}, [problem])
