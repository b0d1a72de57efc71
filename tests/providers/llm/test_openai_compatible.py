"""Against a real HTTP server on this machine, scripted to behave well and badly."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from sibyl_runtime.errors import DeadlineExceeded, Overloaded, ProviderError, SibylError, StartupError
from sibyl_runtime.providers.llm.openai_compatible import OpenAIChatModel
from sibyl_runtime.providers.protocols import Generation, GenerationRequest, Passage
from sibyl_runtime.workspace import LlmProvider
from tests.support.conditions import until
from tests.support.openai_server import OpenAIServer, Reply, completion, malformed, refusal, silence

KEY = "sk-very-secret-0123456789"
PASSAGES = (Passage("One", "first", 0.9), Passage("Two", "second", 0.8))


class Waits:
    """Stands in for the clock and for sleeping: a wait is noted and time moves on at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@asynccontextmanager
async def model_of(server: OpenAIServer, waits: Waits | None = None, **settings: Any) -> AsyncIterator[OpenAIChatModel]:
    provider = LlmProvider(**{"kind": "openai", "model": "gpt-4", "api_key": KEY, "base_url": server.url, **settings})
    injected = waits or Waits()
    model = OpenAIChatModel("primary", provider, sleep=injected.sleep, clock=injected.clock, jitter=lambda: 1.0)
    try:
        yield model
    finally:
        await model.close()


def request(**changes: Any) -> GenerationRequest:
    return GenerationRequest(**{"question": "Why?", "passages": PASSAGES, "prompt": "Answer: why?", **changes})


async def generate(server: OpenAIServer, waits: Waits | None = None, **settings: Any) -> Generation:
    async with model_of(server, waits, **settings) as model:
        return await model.generate(request())


async def failure(server: OpenAIServer, waits: Waits | None = None, **settings: Any) -> SibylError:
    with pytest.raises(SibylError) as caught:
        await generate(server, waits, **settings)
    return caught.value


async def test_an_answer_comes_back_with_what_it_took(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(completion("  Because [2], not [5].\n", finish_reason="length"))
    assert await generate(openai_server) == Generation(
        text="Because [2], not [5].",
        model="gpt-4-0613",
        prompt_tokens=100,
        completion_tokens=20,
        finish_reason="length",
        cited=(1,),
        cost_usd=Decimal("0.0042"),
    )


async def test_only_what_was_set_is_sent(openai_server: OpenAIServer) -> None:
    await generate(openai_server)
    [received] = openai_server.received
    assert received.path == "/v1/chat/completions"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.body == {"model": "gpt-4", "messages": [{"role": "user", "content": "Answer: why?"}]}


async def test_every_setting_of_the_workspace_reaches_the_server(openai_server: OpenAIServer) -> None:
    settings: dict[str, Any] = {
        "temperature": 0.5, "max_tokens": 300, "top_p": 0.9, "frequency_penalty": 0.1, "presence_penalty": -0.2,
    }  # fmt: skip
    await generate(openai_server, **settings)
    [received] = openai_server.received
    assert {name: received.body[name] for name in settings} == settings


async def test_the_request_overrides_the_workspace(openai_server: OpenAIServer) -> None:
    async with model_of(openai_server, temperature=0.5, max_tokens=300) as model:
        await model.generate(request(temperature=0.0, max_tokens=10, stop_sequences=("END",)))
    body = openai_server.received[0].body
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.0, 10, ["END"])


async def test_a_server_that_needs_no_key_gets_none(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(variable, "of-another-service")
    await generate(openai_server, api_key=None)
    assert "authorization" not in openai_server.received[0].headers
    assert "of-another-service" not in openai_server.received[0].headers.values()


@pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 3)])
async def test_connections_are_reused_only_when_asked(
    openai_server: OpenAIServer, keep_alive: bool, connections: int
) -> None:
    async with model_of(openai_server, keep_alive=keep_alive) as model:
        for _ in range(3):
            await model.generate(request())
    assert len({received.client_port for received in openai_server.received}) == connections


@pytest.mark.parametrize(
    ("usage", "counts", "cost"),
    [
        ({}, (0, 0), None),
        ({"prompt_tokens": 10, "completion_tokens": 5}, (10, 5), Decimal("0.0006")),
        ({"prompt_tokens": None, "completion_tokens": None}, (0, 0), None),
    ],
)
async def test_a_server_that_does_not_count_tokens_leaves_the_cost_unknown(
    openai_server: OpenAIServer, usage: dict[str, Any], counts: tuple[int, int], cost: Decimal | None
) -> None:
    openai_server.reply_with(completion(usage=usage))
    found = await generate(openai_server)
    assert (found.prompt_tokens, found.completion_tokens) == counts
    assert found.cost_usd == cost


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (
            refusal(401, f"Incorrect API key provided: {KEY}"),
            ProviderError,
            "provider primary (gpt-4): 401, the API key was refused; check providers.llm.primary.api_key",
        ),
        (
            refusal(403, f"{KEY} may not"),
            ProviderError,
            "provider primary (gpt-4): 403, the API key was refused; check providers.llm.primary.api_key",
        ),
        (
            refusal(404, "no such model"),
            ProviderError,
            "provider primary (gpt-4): 404, HOST knows no such model or path; check model and base_url",
        ),
        (
            refusal(400, f"maximum context length is 8192 tokens, said {KEY}"),
            ProviderError,
            "provider primary (gpt-4): 400, the request was refused: maximum context length is 8192 tokens, "
            "said [redacted]",
        ),
        (
            Reply(status=422, body=b"<html>" + KEY.encode(), content_type="text/html"),
            ProviderError,
            "provider primary (gpt-4): 422, the request was refused: no reason given",
        ),
        (
            refusal(429, "slow down", retry_after="7"),
            Overloaded,
            "provider primary (gpt-4): 429, its rate limit is reached after 3 attempts; try again in 7 s, or have the "
            "limit raised",
        ),
        (
            refusal(429, "pay first", code="insufficient_quota"),
            ProviderError,
            "provider primary (gpt-4): 429, the quota of the account is used up; raise it, or use another "
            "providers.llm.primary.api_key",
        ),
        (
            refusal(500, "oops"),
            ProviderError,
            "provider primary (gpt-4): 500 from HOST after 3 attempts; try again, or look into that server",
        ),
        (
            refusal(503, "down"),
            ProviderError,
            "provider primary (gpt-4): 503 from HOST after 3 attempts; try again, or look into that server",
        ),
        (
            malformed(),
            ProviderError,
            "provider primary (gpt-4): HOST answers with something that is not a chat completion; check base_url",
        ),
        (
            Reply(body=b"<html>hello</html>", content_type="text/html"),
            ProviderError,
            "provider primary (gpt-4): HOST answers with something that is not a chat completion; check base_url",
        ),
        (
            Reply(body=b'{"choices": []}'),
            ProviderError,
            "provider primary (gpt-4): HOST answers with something that is not a chat completion; check base_url",
        ),
        (
            Reply(body=b"[1, 2]"),
            ProviderError,
            "provider primary (gpt-4): HOST answers with something that is not a chat completion; check base_url",
        ),
        (
            completion(None, finish_reason="content_filter"),
            ProviderError,
            "provider primary (gpt-4): the answer holds no text (finish reason: content_filter)",
        ),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else None,
)
async def test_each_failure_says_what_happened_and_never_shows_the_key(
    openai_server: OpenAIServer,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    kind: type[SibylError],
    message: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    openai_server.reply_with(reply)
    error = await failure(openai_server)
    assert type(error) is kind
    host = openai_server.url.removeprefix("http://").removesuffix("/v1")
    assert error.message == message.replace("HOST", "its server")
    assert host not in error.message
    assert host in caplog.text or kind is not ProviderError
    assert KEY not in f"{error!r} {error.details}"
    assert KEY not in caplog.text


async def test_details_name_provider_model_and_status(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(refusal(401))
    error = await failure(openai_server)
    assert error.details == {"provider": "primary", "model": "gpt-4", "status": 401, "attempts": 1}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(openai_server: OpenAIServer, status: int) -> None:
    waits = Waits()
    openai_server.reply_with(refusal(status), refusal(status), completion("At last."))
    assert (await generate(openai_server, waits)).text == "At last."
    assert waits.slept == [0.5, 1.0]


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_as_often_as_the_workspace_says(openai_server: OpenAIServer, retries: int) -> None:
    openai_server.reply_with(refusal(500))
    await failure(openai_server, max_retries=retries)
    assert len(openai_server.received) == retries + 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_what_will_not_pass_is_not(openai_server: OpenAIServer, status: int) -> None:
    openai_server.reply_with(refusal(status))
    await failure(openai_server)
    assert len(openai_server.received) == 1


@pytest.mark.parametrize(
    ("headers", "slept"),
    [({"retry_after": "3"}, 3.0), ({"retry_after_ms": "1500"}, 1.5), ({"retry_after": "soon"}, 0.5)],
)
async def test_the_wait_that_the_server_asks_for_is_kept(
    openai_server: OpenAIServer, headers: dict[str, str], slept: float
) -> None:
    waits = Waits()
    openai_server.reply_with(refusal(429, **headers), completion())
    await generate(openai_server, waits)
    assert waits.slept == [slept]


async def test_a_wait_that_outlasts_the_deadline_is_not_begun(openai_server: OpenAIServer) -> None:
    waits = Waits()
    openai_server.reply_with(refusal(429, retry_after="20"))
    async with model_of(openai_server, waits) as model:
        with pytest.raises(Overloaded, match=r"429, its rate limit is reached; try again in 20 s, ") as caught:
            await model.generate(request(timeout=5.0))
    assert caught.value.retry_after == 20.0
    assert waits.slept == []


async def test_waits_grow_but_not_for_ever(openai_server: OpenAIServer) -> None:
    waits = Waits()
    openai_server.reply_with(refusal(500))
    await failure(openai_server, waits, max_retries=7)
    assert waits.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_time_that_the_request_was_not_given_is_not_asked_of_the_provider(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(silence())
    async with model_of(openai_server, timeout=60.0) as model:
        with pytest.raises(DeadlineExceeded) as caught:
            await model.generate(request(timeout=0.2))
    assert caught.value.message == (
        "provider primary (gpt-4): no answer within 0.2 s; try again, or raise mcp.timeout, the pipeline's timeout_s, "
        "or the timeout of the step that asked"
    )


async def test_silence_ends_with_the_providers_timeout(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(silence())
    error = await failure(openai_server, timeout=0.2)
    assert type(error) is DeadlineExceeded
    assert error.message == (
        "provider primary (gpt-4): no answer within 0.2 s; try again, or raise providers.llm.primary.timeout"
    )
    assert error.details["stage"] == "generate"
    assert len(openai_server.received) == 1


async def test_silence_ends_with_the_requests_deadline_when_that_is_sooner(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(silence())
    async with model_of(openai_server) as model:
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.1 s"):
            await model.generate(request(timeout=0.1))


async def test_a_busy_pool_is_overload_and_names_the_setting(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(silence())
    async with model_of(openai_server, max_connections=1, timeout=0.5) as model:
        first = asyncio.create_task(model.generate(request()))
        await until(lambda: openai_server.received)
        with pytest.raises(Overloaded, match=r"every connection is in use; raise providers\.llm\.primary\.max_conn"):
            await model.generate(request(timeout=0.2))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_cancelled_request_closes_its_connection(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(silence(), completion())
    async with model_of(openai_server, max_connections=1) as model:
        waiting = asyncio.create_task(model.generate(request()))
        await until(lambda: openai_server.received)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (await model.generate(request())).text == "Forty-two [1]."


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("base_url", "reason"),
    [
        ("http://127.0.0.1:{port}/v1", "its server cannot be reached (Connection refused)"),
        ("http://model.invalid/v1", "its server cannot be reached ("),
    ],
)
async def test_a_server_that_is_not_there_is_named(openai_server: OpenAIServer, base_url: str, reason: str) -> None:
    port = closed_port()
    waits = Waits()
    error = await failure(openai_server, waits, base_url=base_url.format(port=port))
    assert type(error) is ProviderError
    assert error.message.startswith(f"provider primary (gpt-4): {reason}")
    assert error.message.endswith(" after 3 attempts; check base_url and network")
    assert waits.slept == [0.5, 1.0]


async def test_check_proves_address_and_key_and_spends_nothing(openai_server: OpenAIServer) -> None:
    async with model_of(openai_server) as model:
        await model.check()
    assert [(received.method, received.path) for received in openai_server.received] == [("GET", "/v1/models")]


async def test_check_accepts_a_server_without_a_list_of_models(openai_server: OpenAIServer) -> None:
    openai_server.list_models_with(refusal(404))
    async with model_of(openai_server) as model:
        await model.check()
    assert len(openai_server.received) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(refusal(401), ProviderError), (refusal(500), ProviderError), (silence(), DeadlineExceeded)],
)
async def test_check_fails_as_a_request_would(
    openai_server: OpenAIServer, reply: Reply, kind: type[SibylError]
) -> None:
    openai_server.list_models_with(reply)
    async with model_of(openai_server, timeout=0.2) as model:
        with pytest.raises(kind):
            await model.check()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"api_key": None, "base_url": None},
            "providers.llm.primary.api_key: is missing; give a key, or the base_url of a server that needs none",
        ),
        (
            {"api_key": "", "base_url": None},
            "providers.llm.primary.api_key: is missing; give a key, or the base_url of a server that needs none",
        ),
        (
            {"base_url": "localhost:8000/v1"},
            "providers.llm.primary.base_url: must start with http:// or https:// and name a host (what it holds is not "
            "shown here)",
        ),
        (
            {"base_url": "http://[::1/v1"},
            "providers.llm.primary.base_url: must start with http:// or https:// and name a host (what it holds is not "
            "shown here)",
        ),
        (
            {"base_url": "http://models:12ab/v1"},
            "providers.llm.primary.base_url: is no address that can be asked: Invalid port: '12ab'",
        ),
        (
            {"base_url": "http://models/\x07"},
            "providers.llm.primary.base_url: is no address that can be asked: Invalid non-printable ASCII character in "
            "URL, '\\x07' at position 14.",
        ),
        (
            {"base_url": "http://user:hunter2@localhost/v1"},
            "providers.llm.primary.base_url: must not hold a user or password; give the key as api_key",
        ),
        ({"model": ""}, "providers.llm.primary.model: is missing; kind openai needs the name of a model"),
    ],
)
def test_what_is_missing_is_said_at_start(settings: dict[str, Any], message: str) -> None:
    complete = LlmProvider(kind="openai", model="gpt-4", api_key=KEY, base_url="http://localhost/v1")
    with pytest.raises(StartupError) as caught:
        OpenAIChatModel("primary", complete.model_copy(update=settings))
    assert caught.value.message == message


def test_openai_itself_is_asked_with_the_new_name_for_length() -> None:
    provider = LlmProvider(kind="openai", model="gpt-5", api_key=KEY, max_tokens=50)
    model = OpenAIChatModel("primary", provider)
    assert model._arguments(request())["max_completion_tokens"] == 50


async def test_the_policy_of_the_workspace_sets_the_waits(openai_server: OpenAIServer) -> None:
    waits = Waits()
    openai_server.reply_with(refusal(500))
    error = await failure(openai_server, waits, max_retries=3, retry_delay=0.2, exponential_backoff=False)
    assert waits.slept == [0.2, 0.2, 0.2]
    assert error.details["attempts"] == 4


async def test_an_answer_says_how_often_it_was_asked_for(openai_server: OpenAIServer) -> None:
    openai_server.reply_with(refusal(503), refusal(503), completion())
    assert (await generate(openai_server)).attempts == 3
    assert (await generate(openai_server)).attempts == 1


async def test_every_attempt_has_its_turn_in_the_rate_limit(openai_server: OpenAIServer) -> None:
    waits = Waits()
    openai_server.reply_with(refusal(500), completion())
    await generate(openai_server, waits, rate_limit={"requests_per_minute": 1}, timeout=100)
    assert waits.slept == [0.5, 59.5], "the wait before the retry, and what is left of the minute"


async def test_a_rate_limit_that_outlasts_the_request_is_overload_and_sends_nothing(
    openai_server: OpenAIServer,
) -> None:
    async with model_of(openai_server, rate_limit={"requests_per_minute": 1}) as model:
        await model.generate(request())
        with pytest.raises(Overloaded, match=r"providers\.llm\.primary\.rate_limit is used up for the next 60\.0 s"):
            await model.generate(request(timeout=5.0))
    assert len(openai_server.received) == 1


async def test_tokens_that_were_used_count_against_the_rate_limit(openai_server: OpenAIServer) -> None:
    async with model_of(openai_server, rate_limit={"tokens_per_minute": 200}) as model:
        await model.generate(request())
        with pytest.raises(Overloaded):
            await model.generate(request(timeout=5.0, max_tokens=100))
        await model.generate(request(timeout=5.0, max_tokens=50))
    assert len(openai_server.received) == 2, "100 + 20 tokens were used; 50 more fit, 100 do not"
