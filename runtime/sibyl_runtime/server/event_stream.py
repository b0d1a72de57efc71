"""One answer as Server-Sent Events: begun with the first event, ended in order or, for a client that does not read,
by dropping the connection.

Nothing is queued here. An event is written when the one before it fits into the connection's buffer, so that a slow
client slows down what makes the events, and holds no more memory than that buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from sibyl_runtime.server.abortable import ABORT

FAREWELL_SECONDS = 1.0
"""How long an error may take to be sent: it is what a client gets that has read nothing for as long as it may."""

Failure = Callable[[Any], bytes]


class EventStream:
    """Written to by the call that answers. `failure` puts the body of an error into the stream's own form."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, failure: Failure) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._failure = failure
        self.begun = False
        self.ended = False

    async def write(self, events: Iterable[bytes]) -> None:
        """Send events, whole lines each; waits while the client has not read what was sent before."""
        for event in events:
            if not self.begun:
                await self._begin()
            await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def end(self) -> None:
        """Nothing follows."""
        self.ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send(self, message: Message) -> None:
        """Pass on an error that answers instead of the stream; once that has begun, as its last event."""
        if not self.begun:
            await self._send(message)
        elif message["type"] == "http.response.body" and not self.ended:
            await self.fail(orjson.loads(message["body"]))

    async def fail(self, body: Any) -> None:
        """End with an error, whose documented JSON is `body`."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.write([self._failure(body)])
                await self.end()
        except TimeoutError:
            await self._abort()

    async def _begin(self) -> None:
        self.begun = True
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would collect the events
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _abort(self) -> None:
        """Drop the connection, and wait until the server knows: it would complain about an answer without an end."""
        abort: Callable[[], None] | None = self._scope.get("extensions", {}).get(ABORT)
        if abort is None:
            return
        abort()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def sse(data: Any, *, event: str | None = None) -> bytes:
    """One event. JSON holds no line break, so the data is one line."""
    name = b"" if event is None else b"event: %s\n" % event.encode()
    return b"%sdata: %s\n\n" % (name, orjson.dumps(data))


async def done(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer that has been sent already."""
