"""A chat completion that is read while it is written, over the client library's own stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from types import SimpleNamespace
from typing import Any

import httpx2
import openai

from sibyl_runtime.errors import ProviderError
from sibyl_runtime.providers.llm.openai_failures import Identity, deadline

LONGEST_QUOTE = 300


def response_format(answer_schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How the API is told that the answer has to fit a JSON Schema; None when it need not.

    Not `strict`: that mode forbids optional keys and most limits. What comes back is checked here in any case.
    """
    if answer_schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(answer_schema), "strict": False}}


class WrittenAnswer:
    """One attempt. `begun` is True once text has been passed on.

    `seconds` is how long the model may take in all; the time that the reader takes between two parts does not count.
    """

    def __init__(self, client: openai.AsyncOpenAI, who: Identity, seconds: float, timeout: httpx2.Timeout) -> None:
        self._client = client
        self._timeout = timeout
        self._who = who
        self._seconds = self._left = seconds
        self._texts: list[str] = []
        self._finish_reason: str | None = None
        self._model: str | None = None
        self._usage: Any = None

    @property
    def begun(self) -> bool:
        """Whether a second attempt would repeat what the reader has."""
        return bool(self._texts)

    async def parts(self, arguments: Mapping[str, Any], headers: Mapping[str, Any]) -> AsyncGenerator[str, None]:
        """The text as it arrives. Raises openai.APIError, ProviderError and DeadlineExceeded."""
        opening = self._client.chat.completions.create(
            **arguments,
            stream=True,
            stream_options={"include_usage": True},
            timeout=self._timeout,
            extra_headers=headers,
        )
        stream = await self._waited(opening)
        if not isinstance(stream, openai.AsyncStream):
            raise self._not_a_stream()
        async with stream:
            while (chunk := await self._waited(anext(stream, None))) is not None:
                if text := self._take(chunk):
                    self._texts.append(text)
                    yield text

    def completion(self) -> Any:
        """The whole, in the shape of a completion that came at once. Raises ProviderError when its end is missing."""
        if self._finish_reason is None:
            raise self._who.error(f"{self._who.host} broke the answer off before its end; try again")
        message = SimpleNamespace(content="".join(self._texts))
        choice = SimpleNamespace(message=message, finish_reason=self._finish_reason)
        return SimpleNamespace(choices=[choice], model=self._model, usage=self._usage)

    async def _waited(self, work: Any) -> Any:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._left):
                return await work
        except TimeoutError:
            raise deadline(self._who, self._seconds) from None
        except ValueError as error:
            raise self._not_a_stream() from error
        except openai.APIError as error:
            if type(error) is not openai.APIError:
                raise
            # An error among the parts: the status was good, and the server's own words are all there is.
            said = self._who.without_key(" ".join(error.message.split()))[:LONGEST_QUOTE]
            raise self._who.error(f"{self._who.host} broke the answer off: {said}") from error
        finally:
            self._left = max(0.0, self._left - (time.monotonic() - started))

    def _take(self, chunk: Any) -> str:
        """The text of one chunk. Servers vary: one may have no choices, no text, or the usage alone."""
        self._model = getattr(chunk, "model", None) or self._model
        self._usage = getattr(chunk, "usage", None) or self._usage
        choices = getattr(chunk, "choices", None)
        if not choices:
            return ""
        try:
            text = choices[0].delta.content
            self._finish_reason = choices[0].finish_reason or self._finish_reason
        except (AttributeError, IndexError, TypeError):
            raise self._not_a_stream() from None
        return text if isinstance(text, str) else ""

    def _not_a_stream(self) -> ProviderError:
        return self._who.error(
            f"{self._who.host} answers with something that is not a streamed chat completion; check base_url"
        )
