"""Answers that are read while they are written, from a real HTTP server, scripted to behave well and badly."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from sibyl_runtime.errors import DeadlineExceeded, ProviderError, SibylError
from sibyl_runtime.providers.llm.extractive import ExtractiveModel
from sibyl_runtime.providers.protocols import Generation
from sibyl_runtime.workspace import LlmProvider
from tests.providers.llm.test_openai_compatible import KEY, Waits, model_of, request
from tests.support.conditions import until
from tests.support.openai_server import OpenAIServer, Reply, completion, endless, refusal, silence, streamed


async def stream(server: OpenAIServer, waits: Waits | None = None, **settings: Any) -> list[str | Generation]:
    async with model_of(server, waits, **settings) as model:
        return [part async for part in model.stream(request())]


async def failure(server: OpenAIServer, heard: list[str | Generation], **settings: Any) -> SibylError:
    async with model_of(server, **settings) as model:
        try:
            async for part in model.stream(request()):
                heard.append(part)
        except SibylError as error:
            return error
    raise AssertionError("it did not fail")


async def test_parts_come_as_they_are_written_and_the_whole_last(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(streamed(" Because", " [2]", ".\n"))
    *parts, whole = await stream(openai_server)
    assert parts == [" Because", " [2]", ".\n"]
    assert whole == Generation("Because [2].", "gpt-4-0613", 100, 20, "stop", (1,), Decimal("0.0042"))
    assert openai_server.received[0].body == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Answer: why?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_server_that_does_not_count_leaves_the_price_open(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(streamed("Because.", usage=False))
    whole = (await stream(openai_server))[-1]
    assert isinstance(whole, Generation)
    assert (whole.prompt_tokens, whole.completion_tokens, whole.cost_usd) == (0, 0, None)


async def test_a_failure_before_the_first_part_is_tried_again(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(refusal(500), refusal(503), streamed("Because."))
    waits = Waits()
    assert (await stream(openai_server, waits, max_retries=2))[0] == "Because."
    assert waits.slept == [0.5, 1.0]


async def test_a_connection_that_breaks_after_the_first_part_is_not_tried_again(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(streamed("Bec", breaks=True))
    heard: list[str | Generation] = []
    error = await failure(openai_server, heard, max_retries=3)
    assert heard == ["Bec"]
    assert isinstance(error, ProviderError)
    assert "cannot be reached (connection lost)" in error.message
    assert len(openai_server.received) == 1


async def test_an_answer_without_an_end_is_an_error_and_no_answer(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(streamed("Bec", finish_reason=None))
    heard: list[str | Generation] = []
    error = await failure(openai_server, heard)
    assert heard == ["Bec"]
    assert error.message.endswith("broke the answer off before its end; try again")


async def test_an_error_among_the_parts_is_told_in_the_servers_words_without_the_key(
    openai_server: OpenAIServer,
) -> None:
    event = b"data: %s\n\n" % json.dumps({"error": {"message": f"overloaded, key {KEY}"}}).encode()
    openai_server.reply_with(Reply(events=[event]))
    error = await failure(openai_server, [], max_retries=0)
    assert error.message.endswith("broke the answer off: overloaded, key [redacted]")


@pytest.mark.parametrize("reply", [completion(), Reply(body=b"<html>"), Reply(events=[b"data: {half\n\n"])])
async def test_what_is_no_stream_is_told_as_that(openai_server: OpenAIServer, reply: Reply) -> None:
    openai_server.reply_with(reply)
    error = await failure(openai_server, [], max_retries=0)
    assert isinstance(error, ProviderError)
    assert "base_url" in error.message or "broke the answer off before its end" in error.message


@pytest.mark.parametrize("reply", [silence(), streamed("Bec", hangs=True)], ids=["before", "between"])
async def test_a_model_that_falls_silent_is_left_when_its_time_is_over(
    openai_server: OpenAIServer, reply: Reply
) -> None:
    openai_server.reply_with(reply)
    error = await failure(openai_server, [], timeout=0.2, max_retries=0)
    assert isinstance(error, DeadlineExceeded)
    assert "no answer within 0.2 s" in error.message


async def test_the_time_of_a_slow_reader_is_not_the_models(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(streamed("Be", "cause", "."))
    async with model_of(openai_server, timeout=0.5) as model:
        parts = model.stream(request())
        assert await anext(parts) == "Be"
        reading = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > reading + 0.6)
        assert [part async for part in parts][:2] == ["cause", "."]


async def test_closing_the_stream_ends_the_call_and_frees_its_connection(openai_server: OpenAIServer) -> None:
    async with model_of(openai_server, max_connections=1) as model:
        openai_server.reply_with(endless("on "))
        parts = model.stream(request())
        assert await anext(parts) == "on "
        await parts.aclose()
        await until(openai_server.left.is_set)
        openai_server.reply_with(completion("The place is free."))
        assert (await model.generate(request())).text == "The place is free."


async def test_the_schema_of_an_object_is_sent(openai_server: OpenAIServer) -> None:
    schema = {"type": "object", "properties": {}}
    async with model_of(openai_server) as model:
        await model.generate(request(answer_schema=schema))
    assert openai_server.received[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": False},
    }


async def test_an_extractive_answer_is_there_at_once() -> None:
    model = ExtractiveModel("default", LlmProvider(kind="extractive"))
    asked = request(question="What is first?")
    whole = await model.generate(asked)
    assert [part async for part in model.stream(asked)] == [whole.text, whole]
