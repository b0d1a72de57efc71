"""A local server that speaks OpenAI's API over real HTTP and answers as a test scripts it.

A conftest imports both `openai_process` and `openai_server`, each `as` itself. One server runs for all tests;
`openai_server` hands it to a test with nothing scripted and nothing received.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


@dataclass(frozen=True)
class Reply:
    """One answer of the server: a status and a body, or silence."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    hangs: bool = False
    events: Iterable[bytes] | None = None
    """What a streamed answer sends, one by one; then it ends, hangs (`hangs`) or breaks off (`breaks`)."""
    breaks: bool = False
    pause: float = 0.0
    """Seconds after each event: what a model takes to write the next."""


@dataclass(frozen=True)
class Received:
    """One request as it came in. `client_port` tells connections apart."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    client_port: int


def completion(
    text: str | None = "Forty-two [1].",
    *,
    model: str = "gpt-4-0613",
    usage: Mapping[str, Any] | None = None,
    finish_reason: str = "stop",
) -> Reply:
    """A chat completion. `usage` defaults to 100 prompt and 20 completion tokens; {} leaves it out."""
    counted = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if usage is None else usage
    message = {"role": "assistant", "content": text}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        **({"usage": counted} if counted else {}),
    }
    return Reply(body=json.dumps(body).encode())


def embeddings(*vectors: list[float], tokens: int = 7, model: str = "text-embedding-3-small") -> Reply:
    """A list of vectors, in the order given."""
    rows = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Reply(body=json.dumps({"object": "list", "data": rows, "model": model, "usage": usage}).encode())


def refusal(status: int, message: str = "refused", *, code: str | None = None, **headers: str) -> Reply:
    """An error in the API's own shape; header names are given with underscores: retry_after="7"."""
    error = {"error": {"message": message, "type": "error", "code": code, "param": None}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=json.dumps(error).encode(), headers=named)


def streamed(
    *texts: str,
    usage: bool = True,
    finish_reason: str | None = "stop",
    hangs: bool = False,
    breaks: bool = False,
) -> Reply:
    """A streamed completion of these parts, with 100 prompt and 20 completion tokens at its end."""
    return Reply(events=_events(texts, usage, None if hangs or breaks else finish_reason), hangs=hangs, breaks=breaks)


def endless(text: str, *, pause: float = 0.0) -> Reply:
    """A streamed completion that never ends."""
    return Reply(events=(_chunk({"content": text}) for _ in itertools.count()), pause=pause)


def _events(texts: Sequence[str], usage: bool, finish_reason: str | None) -> list[bytes]:
    events = [_chunk({"role": "assistant", "content": ""}), *(_chunk({"content": text}) for text in texts)]
    if finish_reason is not None:
        events.append(_chunk({}, finish_reason))
        if usage:
            counted = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
            events.append(_chunk(None, usage=counted))
        events.append(b"data: [DONE]\n\n")
    return events


def _chunk(delta: Mapping[str, Any] | None, finish_reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4-0613", "choices": choices}
    return b"data: %s\n\n" % json.dumps({**body, **more}).encode()


def silence() -> Reply:
    """Accepts the request and never answers."""
    return Reply(hangs=True)


def malformed() -> Reply:
    """Half a JSON document."""
    return Reply(body=b'{"choices": [{"mess')


MODELS = Reply(body=b'{"object": "list", "data": [{"id": "gpt-4", "object": "model"}]}')


def text_vector(text: str, dimension: int) -> list[float]:
    """A vector of this text alone, of no particular length."""
    digest = hashlib.sha256(text.encode()).digest()
    return [float(digest[place % len(digest)]) - 127.5 for place in range(dimension)]


class OpenAIServer:
    """Replies in the order scripted, the last one for ever; records what it received."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.written = 0
        """Events of streamed answers that were handed to the connection."""
        self.left = threading.Event()
        """Set when a client has broken a streamed answer off."""
        self._script: deque[Reply] = deque([completion()])
        self._models = MODELS
        self._vectors: deque[Reply] = deque()
        self._socket = socket.create_server(("127.0.0.1", 0))
        routes = [
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
            Route("/v1/models", self._list_models),
            Route("/v1/embeddings", self._embed, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base_url for a client."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def reply_with(self, *replies: Reply) -> None:
        """What the next completions are answered with; the last reply is repeated."""
        self._script = deque(replies)

    def list_models_with(self, reply: Reply) -> None:
        self._models = reply

    def embed_with(self, *replies: Reply) -> None:
        """What the next embeddings are answered with. After them, and without them, each text gets its own vector."""
        self._vectors = deque(replies)

    def forget(self) -> None:
        """Back to how it started: nothing received, every request answered well."""
        self.received.clear()
        self.written = 0
        self.left.clear()
        self.reply_with(completion())
        self.list_models_with(MODELS)
        self.embed_with()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def _complete(self, request: Request) -> Response:
        await self._record(request)
        reply = self._script.popleft() if len(self._script) > 1 else self._script[0]
        return await self._send(request, reply)

    async def _embed(self, request: Request) -> Response:
        await self._record(request)
        asked = self.received[-1].body
        if self._vectors:
            return await self._send(request, self._vectors.popleft())
        made = [text_vector(text, asked.get("dimensions") or 8) for text in asked["input"]]
        return await self._send(request, embeddings(*made, tokens=3 * len(made)))

    async def _list_models(self, request: Request) -> Response:
        await self._record(request)
        return await self._send(request, self._models)

    async def _stream(self, reply: Reply) -> AsyncIterator[bytes]:
        try:
            for event in reply.events or ():
                yield event
                self.written += 1
                await asyncio.sleep(reply.pause)  # to send to a client that has gone does not wait, and would never end
            if reply.breaks:
                raise ConnectionAbortedError("scripted")
            if reply.hangs:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def _send(self, request: Request, reply: Reply) -> Response:
        if reply.events is not None:
            return StreamingResponse(self._stream(reply), media_type="text/event-stream")
        if reply.hangs:
            await request.receive()  # the body is read, so what comes next is that the client has gone
        return Response(reply.body, reply.status, dict(reply.headers), media_type=reply.content_type)

    async def _record(self, request: Request) -> None:
        raw = await request.body()
        port = request.client.port if request.client else 0
        headers = dict(request.headers)
        self.received.append(
            Received(request.method, request.url.path, headers, json.loads(raw) if raw else None, port)
        )


@pytest.fixture(scope="session")
def openai_process() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.stop()


@pytest.fixture
def openai_server(openai_process: OpenAIServer) -> OpenAIServer:
    """The server, its record empty and answering well."""
    openai_process.forget()
    return openai_process
