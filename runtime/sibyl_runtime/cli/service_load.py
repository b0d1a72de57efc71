"""The load of a service without its sockets: requests to the application itself, checks and metrics included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from urllib.parse import quote

import orjson
from starlette.types import ASGIApp, Message, Scope

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.runtime import Runtime
from sibyl_runtime.server.app import create_applications
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.server.instrumentation import metrics_for


@dataclass(frozen=True)
class ServiceLoad:
    """`clients` that each wait for their answer before they ask again, for `seconds`."""

    tool: str
    questions: Sequence[str]
    clients: int
    seconds: float


class LocalService:
    """The API of a runtime, called in this process with the first of its keys."""

    def __init__(self, runtime: Runtime, tool: str) -> None:
        self._app: ASGIApp = create_applications(runtime, metrics_for(runtime.workspace), Lifecycle()).api
        self._path = f"/mcp/tools/{quote(tool)}"
        authentication = runtime.workspace.mcp.authentication
        self._headers = [(b"content-type", b"application/json")]
        if authentication is not None and authentication.keys:
            self._headers.append((authentication.header.lower().encode("latin-1"), authentication.keys[0].encode()))

    async def ask(self, question: str) -> None:
        """Post one question. Raises InvalidParameters with the answer unless that is 200."""
        body = orjson.dumps({"query": question})
        received = False
        gone = asyncio.Event()
        answer: list[Message] = []

        async def receive() -> Message:
            nonlocal received
            if received:
                await gone.wait()
                return {"type": "http.disconnect"}
            received = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answer.append(message)

        await self._app(self._scope(len(body)), receive, send)
        if answer[0]["status"] != 200:
            text = b"".join(message.get("body", b"") for message in answer[1:]).decode()
            raise InvalidParameters(f"the service answered {answer[0]['status']}: {text}")

    def _scope(self, length: int) -> Scope:
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": self._path, "raw_path": self._path.encode(), "root_path": "", "query_string": b"",
            "headers": [*self._headers, (b"content-length", str(length).encode())],
            "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0),
        }  # fmt: skip


async def put_load(service: LocalService, load: ServiceLoad) -> int:
    """Answers given."""
    until = time.perf_counter() + load.seconds
    questions = cycle(load.questions)
    answered = 0

    async def client() -> None:
        nonlocal answered
        while time.perf_counter() < until:
            await service.ask(next(questions))
            answered += 1

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(load.clients):
                group.create_task(client())
    except BaseExceptionGroup as failed:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # then the service has refused what was under way
            raise asyncio.CancelledError from None
        raise failed.exceptions[0] from None
    return answered
