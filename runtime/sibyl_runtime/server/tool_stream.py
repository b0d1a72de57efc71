"""POST /mcp/tools/{name}/stream: an answer as Server-Sent Events while it is made.

What fails before the first event is a plain JSON error with its status; afterwards the same body comes as the last
event. The call runs in the task that writes: a client that reads slowly slows it down, and one that leaves ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.listening import AnswerText, Event, SourcesFound
from sibyl_runtime.server.calls import ToolCalls
from sibyl_runtime.server.event_stream import EventStream, done, sse
from sibyl_runtime.server.reply import reply
from sibyl_runtime.server.request import RequestFacts, facts_of
from sibyl_runtime.server.responses import error_body, unexpected
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.server.telemetry import STOPPED
from sibyl_runtime.server.tools import ToolCall

_STREAM = "sibyl.stream"


class Format(Protocol):
    """How one answer looks on the wire: the events of what a call tells, one by one."""

    def told(self, event: Event) -> Iterator[bytes]:
        """The events for something heard while the answer is made; none for what the format does not tell."""

    def result(self, outcome: ToolOutcome, seconds: float) -> Iterator[bytes]:
        """The last events of an answer that is complete. `seconds` is the time of the whole call."""

    def failure(self, body: Any) -> bytes:
        """The last event of one that failed; `body` is the documented JSON of the error."""


class ToolEvents:
    """The format of this project: each event has a name, and its data repeats it as `type`."""

    def __init__(self, facts: RequestFacts) -> None:
        self._facts = facts
        self._begun = False

    def told(self, event: Event) -> Iterator[bytes]:
        """`start` before the first; `stage`, `sources`, `chunk`."""
        if not self._begun:
            self._begun = True
            yield _event("start", tool=self._facts.tool, request_id=self._facts.id)
        if isinstance(event, AnswerText):
            yield _event("chunk", content=event.text)
        elif isinstance(event, SourcesFound):
            yield _event("sources", sources=event.sources)
        else:
            start, took = round(event.started * 1000, 2), round(event.seconds * 1000, 2)
            yield _event("stage", step=event.step, stage=event.stage, ms=took, start_ms=start)

    def result(self, outcome: ToolOutcome, seconds: float) -> Iterator[bytes]:
        """`metadata`, which holds what the plain route answers; `end`."""
        body = reply(str(self._facts.tool), outcome, seconds, request_id=self._facts.id)
        yield _event("metadata", **body)
        yield _event("end")

    def failure(self, body: Any) -> bytes:
        """`error`, with what a JSON error holds."""
        return _event("error", **body)


class ToolStream(ToolCall):
    """A ToolCall whose answer is written while it is made. `form` makes the format of one request."""

    def __init__(
        self,
        calls: ToolCalls,
        *,
        max_request_size: int,
        form: Callable[[Scope], Format] = lambda scope: ToolEvents(facts_of(scope)),
    ) -> None:
        super().__init__(calls, max_request_size=max_request_size)
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        form = self._form(scope)
        stream = EventStream(scope, receive, send, form.failure)
        scope[_STREAM] = (stream, form)
        try:
            await super().__call__(scope, receive, stream.send)
        except asyncio.CancelledError:
            # The server stops, and this answer took longer than it was given.
            if stream.begun and not stream.ended:
                await stream.fail(error_body(scope, STOPPED))
            raise
        except Exception:
            # The status has been sent: without this the client would see an answer that stops.
            if stream.begun and not stream.ended:
                await stream.fail(error_body(scope, unexpected(scope)))
            raise

    async def _call(self, scope: Scope, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> ToolOutcome:
        facts = facts_of(scope)
        stream, form = _stream_of(scope)
        answering = False

        async def listen(event: Event) -> None:
            nonlocal answering
            if isinstance(event, AnswerText) and not answering:
                answering = True
                self._calls.began(facts)
            await stream.write(form.told(event))

        outcome = await self._calls.call(tool, arguments, deadline, listen)
        await stream.write(form.result(outcome, time.perf_counter() - facts.started))
        await stream.end()
        return outcome

    def _response(self, scope: Scope, outcome: ToolOutcome) -> ASGIApp:
        return done


def _stream_of(scope: Scope) -> tuple[EventStream, Format]:
    found: tuple[EventStream, Format] = scope[_STREAM]
    return found


def add_stream_route(app: FastAPI, runtime: ServedRuntime, calls: ToolCalls) -> None:
    """The route that streams, directly on the application."""
    stream = ToolStream(calls, max_request_size=runtime.workspace.mcp.max_request_size)
    app.router.routes.append(Route("/mcp/tools/{name}/stream", stream, methods=["POST"]))


def _event(name: str, **data: Any) -> bytes:
    return sse({"type": name, **data}, event=name)
