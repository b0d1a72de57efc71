"""`max_connections` and `keep_alive`, counted where connections are made: at a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from sibyl_runtime.providers.llm.openai_compatible import OpenAIChatModel
from sibyl_runtime.providers.protocols import GenerationRequest
from sibyl_runtime.workspace import LlmProvider
from tests.support.conditions import until

REQUESTS = 6


class CountingServer:
    """Answers when it is let, one request per permit; counts connections as the kernel hands them out."""

    def __init__(self) -> None:
        self.accepted = self.open = self.most_open = self.waiting = 0
        self.permits = asyncio.Semaphore(0)
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, for as many requests as it brings."""
        self.accepted += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                length = next(line.partition(b":")[2] for line in lines if line.startswith(b"content-length"))
                await reader.readexactly(int(length))
                self.waiting += 1
                await self.permits.acquire()
                self.waiting -= 1
                writer.write(answer())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def answer() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
    body = json.dumps(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    ).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture
async def server() -> AsyncIterator[CountingServer]:
    counting = CountingServer()
    listening = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    counting.port = listening.sockets[0].getsockname()[1]
    yield counting
    listening.close()
    await listening.wait_closed()


@pytest.mark.parametrize(
    ("settings", "most_open", "accepted"),
    [
        ({"max_connections": 2}, 2, 2),
        ({"max_connections": 1}, 1, 1),
        ({"max_connections": 2, "keep_alive": False}, 2, REQUESTS),
        ({}, REQUESTS, REQUESTS),
    ],
)
async def test_so_many_connections_are_open_at_most_and_so_many_are_made(
    server: CountingServer, settings: dict[str, int | bool], most_open: int, accepted: int
) -> None:
    provider = LlmProvider(
        kind="openai", model="m", base_url=f"http://127.0.0.1:{server.port}/v1", **settings  # type: ignore[arg-type]
    )  # fmt: skip
    model = OpenAIChatModel("main", provider)
    request = GenerationRequest("Why?", (), "Why?")
    try:
        tasks = [asyncio.create_task(model.generate(request)) for _ in range(REQUESTS)]
        await until(lambda: server.waiting == most_open)
        for done in range(1, REQUESTS + 1):
            server.permits.release()
            await until(lambda done=done: sum(task.done() for task in tasks) >= done)  # type: ignore[misc]
        assert [(await task).text for task in tasks] == ["Yes."] * REQUESTS
        assert (server.most_open, server.accepted) == (most_open, accepted)
    finally:
        await model.close()
    await until(lambda: server.open == 0)
