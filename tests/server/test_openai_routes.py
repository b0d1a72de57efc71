"""/v1 over real HTTP, with the client library that everybody uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import openai
import pytest
import yaml

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import InvalidParameters, Overloaded, ProviderError, SibylError
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.listening import AnswerText, Listener, SourcesFound
from tests.server.served import OUTPUT, STAGES, ScriptedRuntime, Served, document, scripted, served

ANSWER = ToolOutcome(OUTPUT, 12, 0.002, STAGES, "miss", 0.005, prompt_tokens=7, completion_tokens=5)
QUESTION = {"role": "user", "content": "Where is the DSN?"}


async def answer(_: str, __: Mapping[str, Any], ___: Deadline) -> ToolOutcome:
    return ANSWER


async def tell(listener: Listener, _: Deadline) -> None:
    await listener(SourcesFound([]))
    await listener(AnswerText("In the"))
    await listener(AnswerText(" Secret."))


def runtime_of(text: str = "name: docs", work: Any = answer) -> ScriptedRuntime:
    runtime = scripted(text, work)
    runtime.narrate = tell
    return runtime


@asynccontextmanager
async def client_of(server: Served, *, key: str = "none") -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server.api.base_url}/v1", api_key=key, max_retries=0) as client:
        yield client


async def ask(client: openai.AsyncOpenAI, *messages: Mapping[str, Any], **settings: Any) -> Any:
    asked: Any = {"model": "docs", "messages": messages or (QUESTION,), **settings}
    return await client.chat.completions.create(**asked)


async def test_a_question_is_answered_with_its_tokens_and_sources() -> None:
    runtime = runtime_of()
    async with served(runtime) as server, client_of(server) as client:
        completion = await ask(client, temperature=0.3, max_tokens=50, user="me")
        metrics = (await server.watch.get("/metrics")).text
    assert completion.choices[0].message.content == "In the Secret."
    assert (completion.choices[0].finish_reason, completion.model, completion.object) == (
        "stop",
        "docs",
        "chat.completion",
    )
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 5, 12)
    assert completion.sibyl["output"]["sources"] == OUTPUT["sources"]
    assert completion.sibyl["metadata"]["tool"] == "search_documents"
    assert runtime.calls == [{"query": "Where is the DSN?"}]
    assert 'sibyl_mcp_tool_calls_total{status="success",tool="search_documents"} 1.0' in metrics
    assert 'sibyl_mcp_requests_total{method="POST",status="200"} 1.0' in metrics


async def test_a_stream_gives_the_answer_in_parts_and_the_usage_when_asked() -> None:
    async with served(runtime_of()) as server, client_of(server) as client:
        stream = await ask(client, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        plain = [chunk async for chunk in await ask(client, stream=True)]
        metrics = (await server.watch.get("/metrics")).text
    *parts, usage = chunks
    assert [part.choices[0].delta.content for part in parts] == ["", "In the", " Secret.", None]
    assert (parts[0].choices[0].delta.role, parts[-1].choices[0].finish_reason) == ("assistant", "stop")
    assert parts[-1].sibyl["output"] == OUTPUT
    assert (usage.choices, usage.usage.total_tokens) == ([], 12)
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(plain) == 4
    assert all(part.usage is None for part in plain)
    assert 'sibyl_mcp_tool_first_token_seconds_count{tool="search_documents"} 2.0' in metrics


async def test_the_last_message_of_the_user_is_the_question_and_the_rest_is_not_read() -> None:
    runtime = runtime_of()
    parts = [{"type": "text", "text": "And"}, {"type": "text", "text": "now?"}]
    async with served(runtime) as server, client_of(server) as client:
        await ask(
            client,
            {"role": "system", "content": "Be brief."},
            QUESTION,
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "It"},
        )
    assert runtime.calls == [{"query": "And\nnow?"}]


@pytest.mark.parametrize(("given", "told"), [("length", "length"), ("eos", "stop")])
async def test_an_answer_that_was_cut_says_so(given: str, told: str) -> None:
    async def cut(*_: Any) -> ToolOutcome:
        return replace(ANSWER, finish_reason=given)

    async with served(runtime_of(work=cut)) as server, client_of(server) as client:
        whole = await ask(client)
        parts = [chunk async for chunk in await ask(client, stream=True)]
    assert whole.choices[0].finish_reason == parts[-1].choices[0].finish_reason == told


SEVERAL = yaml.safe_dump(
    {
        "name": "handbook",
        "pipelines": {"find": {"steps": [{"use": "rag.retrieval"}], "parameters": {"query": {"type": "string"}}}},
        "mcp": {
            "tools": [
                {
                    "name": "find",
                    "description": "Chunks alone.",
                    "pipeline": "find",
                    "parameters": {"query": {"type": "string", "required": True}},
                },
                {
                    "name": "ask",
                    "description": "Answers.",
                    "pipeline": "search",
                    "parameters": {"query": {"type": "string", "required": True}},
                },
                {
                    "name": "ask_within",
                    "description": "Answers, and needs more than a question.",
                    "pipeline": "search",
                    "parameters": {
                        "query": {"type": "string", "required": True},
                        "top_k": {"type": "integer", "required": True},
                    },
                },
            ]
        },
    }
)


async def test_models_are_the_tools_that_answer_and_the_workspace_stands_for_the_first() -> None:
    async with served(runtime_of(SEVERAL)) as server, client_of(server) as client:
        assert [model.id async for model in client.models.list()] == ["handbook", "ask"]
        assert (await client.models.retrieve("ask")).owned_by == "handbook"
        for model in ("handbook", "ask"):
            completion = await ask(client, model=model)
            assert (completion.model, completion.sibyl["metadata"]["tool"]) == (model, "ask")
        with pytest.raises(openai.NotFoundError) as caught:
            await ask(client, model="find")
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert "known: handbook, ask" in caught.value.message
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-4")


async def test_a_workspace_without_tools_has_no_models() -> None:
    async with served(runtime_of(document(enabled=False))) as server, client_of(server) as client:
        assert [model async for model in client.models.list()] == []
        with pytest.raises(openai.NotFoundError, match='there is no model "docs"; known: none'):
            await ask(client)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"n": 2}, "n", "n: is not available here; remove it"),
    ({"tools": [{"type": "function"}]}, "tools", "tools: is not available here; remove it"),
    ({"response_format": {"type": "json_object"}}, "response_format", "response_format: is not available here"),
    ({"messages": []}, "messages", "messages: must not be empty"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages", "holds no message with the role user"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages",
        'messages[0].content[0].type: found "image_url"; allowed: text',
    ),
    ({"messages": "hello"}, "messages", 'messages: must be a list, found "hello"'),
    ({"stream": "yes"}, "stream", 'stream: must be true or false, found "yes"; write it without quotes'),
    ({"stream_options": {"include_usage": "true"}}, "stream_options", "stream_options.include_usage: must be true or"),
    ({"messages": ["x"]}, "messages", 'messages[0]: must be a mapping, found "x"'),
    ({"messages": [5] * 100_000}, "messages", "messages[0]: must be a mapping, found 5"),
    (
        {"messages": [{"role": "user"}]},
        "messages",
        "messages[0].content: must be text or a list of text parts, found nothing",
    ),
    (
        {"messages": [{"role": "user", "content": " "}]},
        "messages",
        "messages[0].content: must hold the question, found",
    ),
    (
        {"messages": [{"role": "user", "content": "a\0b"}]},
        "messages",
        "messages[0].content: must not hold the character NUL",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages",
        "messages[0].content[0].text: must be text",
    ),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages", "messages[0].content[0]: must be a part such as"),
    ({"model": 5}, "model", "model: must be text, found 5"),
]


@pytest.mark.parametrize(("body", "param", "message"), REFUSED, ids=lambda value: str(value)[:20])
async def test_what_a_request_may_not_ask_is_refused_by_name(body: dict[str, Any], param: str, message: str) -> None:
    async with served(runtime_of()) as server, client_of(server) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.post(
                "/chat/completions", body={"model": "docs", "messages": [QUESTION], **body}, cast_to=object
            )
    assert message in caught.value.message
    assert (caught.value.param, caught.value.type, caught.value.code) == (
        param,
        "invalid_request_error",
        "invalid_parameters",
    )
    assert server.runtime.calls == []


async def test_a_question_that_the_tool_refuses_is_told_as_what_was_sent() -> None:
    async def refuse(*_: Any) -> ToolOutcome:
        problem = {"parameter": "query", "message": "must be at most 8192 characters, found 9000 characters"}
        raise InvalidParameters(f"query: {problem['message']}", details={"problems": [problem]})

    async with served(runtime_of(work=refuse)) as server, client_of(server) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await ask(client)
    assert caught.value.param == "messages"
    assert "messages, the question: must be at most 8192 characters, found 9000 characters" in caught.value.message


FAILURES: list[tuple[SibylError, type[openai.APIStatusError], str, str]] = [
    (ProviderError("primary refused"), openai.InternalServerError, "server_error", "provider_error"),
    (Overloaded("full", retry_after=2), openai.InternalServerError, "server_error", "overloaded"),
]


@pytest.mark.parametrize(("fault", "kind", "name", "code"), FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_have_openais_form_also_before_a_stream(
    fault: SibylError, kind: type[openai.APIStatusError], name: str, code: str, stream: bool
) -> None:
    async def fail(*_: Any) -> ToolOutcome:
        raise fault

    runtime = runtime_of(work=fail)
    runtime.narrate = None
    async with served(runtime) as server, client_of(server) as client:
        with pytest.raises(kind) as caught:
            await ask(client, stream=stream)
    assert (caught.value.status_code, caught.value.type, caught.value.code) == (fault.status, name, code)
    assert fault.message in caught.value.message
    assert caught.value.request_id


async def test_an_error_within_a_stream_is_raised_by_the_client() -> None:
    async def fail(*_: Any) -> ToolOutcome:
        raise ProviderError("primary broke off")

    heard: list[str | None] = []

    async def read(client: openai.AsyncOpenAI) -> None:
        async for chunk in await ask(client, stream=True):
            heard.append(chunk.choices[0].delta.content)

    async with served(runtime_of(work=fail)) as server, client_of(server) as client:
        with pytest.raises(openai.APIError, match="primary broke off") as caught:
            await read(client)
    assert heard == ["", "In the", " Secret."]
    assert (caught.value.code, caught.value.type) == ("provider_error", "server_error")


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
async def test_the_key_of_the_workspace_is_the_bearer_token(header: str) -> None:
    keys = {"type": "api_key", "header": header, "keys": ["right"]}
    async with served(runtime_of(document(authentication=keys))) as server:
        async with client_of(server, key="right") as client:
            assert (await ask(client)).choices[0].message.content == "In the Secret."
        async with client_of(server, key="wrong") as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await ask(client)
            assert (caught.value.type, caught.value.code) == ("authentication_error", "unauthorized")
        if header != "Authorization":  # elsewhere a token is no key
            elsewhere = await server.api.get("/mcp/tools", headers={"Authorization": "Bearer right"})
            assert elsewhere.status_code == 401


async def test_bodies_that_are_too_large_or_no_json_are_refused_in_openais_form() -> None:
    async with served(runtime_of(document(max_request_size=1024))) as server:
        path = "/v1/chat/completions"
        large = await server.api.post(
            path, json={"model": "docs", "messages": [{"role": "user", "content": "x" * 2000}]}
        )
        broken = await server.api.post(path, content=b'{"model"', headers={"Content-Type": "application/json"})
        missing = await server.api.post("/v1/embeddings", json={})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
