"""Answers through any server that speaks OpenAI's chat completions API.

Retries are made here and not by the client library, because only here is the request's deadline known: a wait that
would outlast it is not begun, and the caller gets the reason instead of a timeout.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from sibyl_runtime.errors import ProviderError, StartupError
from sibyl_runtime.providers.llm.citations import cited_positions
from sibyl_runtime.providers.llm.openai_failures import Identity, deadline, explain, is_transient, retry_after
from sibyl_runtime.providers.llm.openai_stream import WrittenAnswer, response_format
from sibyl_runtime.providers.llm.prices import ModelPrice
from sibyl_runtime.providers.llm.quota import Quota, Turn, estimated_tokens
from sibyl_runtime.providers.llm.retry import RetryPolicy
from sibyl_runtime.providers.openai_client import OPENAI_URL, omitted_headers, open_client, timeout_of
from sibyl_runtime.providers.outgoing import OUTGOING
from sibyl_runtime.providers.protocols import Generation, GenerationRequest

if TYPE_CHECKING:
    from sibyl_runtime.workspace import LlmProvider

CHECK_SECONDS = 5.0

# Servers without a list of models answer so; they are reachable and did not refuse the key.
NO_MODEL_LIST = frozenset({404, 405, 501})


class OpenAIChatModel:
    """A `LanguageModel` over HTTP."""

    def __init__(
        self,
        name: str,
        provider: LlmProvider,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Open a client; nothing is sent. Raises StartupError when a key or the model's name is missing,
        or the address cannot be asked."""
        self._provider = provider
        self._who = _identity(name, provider)
        self._price = ModelPrice(self._who.model, self._who.base_url)
        self._client = _client(self._who, provider)
        self._headers = omitted_headers(provider)
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._retries = RetryPolicy.of(provider)
        limit = provider.rate_limit
        self._quota = None if limit is None else Quota(name, limit, sleep=sleep, clock=clock)

    @property
    def name(self) -> str:
        return self._who.name

    async def generate(self, request: GenerationRequest) -> Generation:
        """Send `request.prompt` as one user message.

        Failures that may pass are retried up to `max_retries` times within `request.timeout`, each attempt in its turn
        of `rate_limit`. Raises ProviderError, Overloaded for a rate limit or when every connection is busy,
        DeadlineExceeded.
        """
        ends = None if request.timeout is None else self._clock() + request.timeout
        attempt = 0
        while True:
            attempt += 1
            turn = await self._turn(request, ends)
            seconds = self._attempt_seconds(ends)
            try:
                answer = replace(self._read(await self._send(request, seconds), request), attempts=attempt)
                self._settle(turn, answer)
                return answer
            except openai.APIError as error:
                delay = self._delay(error, attempt, ends)
                if delay is None:
                    raise explain(error, self._who, attempts=attempt, seconds=seconds) from error
            await self._sleep(delay)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        """As `generate`, the text as it arrives. Retried only while nothing of it has: said is said."""
        ends = None if request.timeout is None else self._clock() + request.timeout
        attempt = 0
        while True:
            attempt += 1
            turn = await self._turn(request, ends)
            seconds = self._attempt_seconds(ends)
            answer = WrittenAnswer(self._client, self._who, seconds, timeout_of(seconds))
            try:
                async with aclosing(
                    answer.parts(self._arguments(request), {**self._headers, **OUTGOING.get()})
                ) as parts:
                    async for text in parts:
                        yield text
                whole = replace(self._read(answer.completion(), request), attempts=attempt)
                self._settle(turn, whole)
                yield whole
                return
            except openai.APIError as error:
                delay = None if answer.begun else self._delay(error, attempt, ends)
                if delay is None:
                    raise explain(error, self._who, attempts=attempt, seconds=seconds) from error
            await self._sleep(delay)

    async def check(self) -> None:
        """Ask for the list of models: proves address and key, costs no tokens. Raises as `generate` does."""
        seconds = min(CHECK_SECONDS, self._provider.timeout)
        try:
            async with asyncio.timeout(seconds):
                await self._client.models.with_raw_response.list(
                    timeout=timeout_of(seconds), extra_headers=self._headers
                )
        except TimeoutError:
            raise deadline(self._who, seconds) from None
        except openai.APIError as error:
            if isinstance(error, openai.APIStatusError) and error.status_code in NO_MODEL_LIST:
                return
            raise explain(error, self._who, attempts=1, seconds=seconds) from error

    async def close(self) -> None:
        await self._client.close()

    async def _turn(self, request: GenerationRequest, ends: float | None) -> Turn | None:
        """The turn of one attempt, waited for; None without a `rate_limit`."""
        if self._quota is None:
            return None
        bound = self._provider.max_tokens if request.max_tokens is None else request.max_tokens
        within = self._provider.timeout if ends is None else max(0.0, ends - self._clock())
        return await self._quota.turn(estimated_tokens(request, bound), within=within)

    def _settle(self, turn: Turn | None, answer: Generation) -> None:
        if self._quota is not None and turn is not None:
            self._quota.settle(turn, answer)

    async def _send(self, request: GenerationRequest, seconds: float) -> object:
        try:
            # The client's timeouts are per read; a server that trickles would outlast them all.
            async with asyncio.timeout(seconds):
                return await self._client.chat.completions.create(
                    **self._arguments(request),
                    timeout=timeout_of(seconds),
                    extra_headers={**self._headers, **OUTGOING.get()},
                )
        except TimeoutError:
            raise deadline(self._who, seconds) from None
        except ValueError as error:
            raise self._not_a_completion() from error

    def _arguments(self, request: GenerationRequest) -> dict[str, Any]:
        provider = self._provider
        chosen = {
            "temperature": provider.temperature if request.temperature is None else request.temperature,
            self._who.length_parameter: provider.max_tokens if request.max_tokens is None else request.max_tokens,
            "top_p": provider.top_p,
            "frequency_penalty": provider.frequency_penalty,
            "presence_penalty": provider.presence_penalty,
            "stop": list(request.stop_sequences) or None,
            "response_format": response_format(request.answer_schema),
        }
        given = {name: value for name, value in chosen.items() if value is not None}
        return {"model": self._who.model, "messages": [{"role": "user", "content": request.prompt}], **given}

    def _read(self, completion: Any, request: GenerationRequest) -> Generation:
        """The completion as a Generation. Servers vary, and the client library does not check: nothing is assumed."""
        try:
            choice = completion.choices[0]
            text, reason = choice.message.content, choice.finish_reason or "stop"
        except (AttributeError, IndexError, TypeError):
            raise self._not_a_completion() from None
        if not isinstance(text, str) or not text.strip():
            raise self._who.error(f"the answer holds no text (finish reason: {reason})")
        prompt_tokens, cached, completion_tokens = _usage(completion)
        cost = self._price.cost(prompt_tokens=prompt_tokens, cached_tokens=cached, completion_tokens=completion_tokens)
        return Generation(
            text=text.strip(),
            model=completion.model or self._who.model,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            finish_reason=reason,
            cited=cited_positions(text, len(request.passages)),
            cost_usd=cost if prompt_tokens or completion_tokens else None,
        )

    def _not_a_completion(self) -> ProviderError:
        return self._who.error(f"{self._who.host} answers with something that is not a chat completion; check base_url")

    def _attempt_seconds(self, ends: float | None) -> float:
        if ends is None:
            return self._provider.timeout
        return max(0.0, min(self._provider.timeout, ends - self._clock()))

    def _delay(self, error: openai.APIError, attempt: int, ends: float | None) -> float | None:
        """Seconds to wait before the next attempt; None when there should be none."""
        if not is_transient(error):
            return None
        left = self._provider.timeout if ends is None else ends - self._clock()
        return self._retries.wait(attempt, asked=retry_after(error), left=left, drawn=self._jitter())


def _identity(name: str, provider: LlmProvider) -> Identity:
    address, key = provider.base_url or OPENAI_URL, provider.api_key or ""
    return Identity(name, provider.model or "", address, key, timeout=provider.timeout)


def _client(who: Identity, provider: LlmProvider) -> openai.AsyncOpenAI:
    if not who.model:
        raise StartupError(f"{who.field}.model: is missing; kind openai needs the name of a model")
    most = provider.max_connections
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most * provider.keep_alive)
    return open_client(who, provider, limits, max_retries=0)


def _usage(completion: Any) -> tuple[int, int, int]:
    """Prompt tokens, how many of them were cached, and completion tokens; zeros where the server does not count."""
    usage = getattr(completion, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    counts = (
        getattr(usage, "prompt_tokens", 0),
        getattr(details, "cached_tokens", 0),
        getattr(usage, "completion_tokens", 0),
    )
    prompt, cached, written = (count if isinstance(count, int) else 0 for count in counts)
    return prompt, cached, written
