"""POST /mcp: streamable HTTP of the Model Context Protocol, in both of its eras, without sessions.

Every request stands alone, so a Service may give each to another replica. Answers are plain JSON, whole: there is
nothing that a server would push, so GET and DELETE, which belong to streams and sessions, are not available.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sibyl_runtime.errors import RequestTooLarge, SibylError
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.server.admission import CancelledWithClient, ClientGone
from sibyl_runtime.server.body import read_body, require_json, send_and_linger
from sibyl_runtime.server.jsonrpc import refusal
from sibyl_runtime.server.rebinding import check_origin
from sibyl_runtime.server.request import header
from sibyl_runtime.server.responses import error_response
from sibyl_runtime.workspace import Mcp

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"


class McpEndpoint:
    """An ASGI endpoint over the MCP server that `make_server` makes. `running()` must surround its requests.

    The library is loaded by the first request: it takes half a second of a processor and 30 MB, which a new pod under
    load, and one that is never asked so, need not spend.
    """

    def __init__(self, make_server: Callable[[], Server[Any]], settings: Mcp) -> None:
        self._make_server = make_server
        self._settings = settings
        self._opening: asyncio.Task[StreamableHTTPSessionManager] | None = None
        self._closing = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    def route(self) -> Route:
        """The route of the endpoint."""
        return Route(PATH, self, methods=["POST"])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The life of the endpoint; only once."""
        try:
            yield
        finally:
            self._closing.set()
            if self._life is not None:
                await self._life

    async def _sessions(self) -> StreamableHTTPSessionManager:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        # A client that leaves ends its own wait, not the opening that others wait for.
        return await asyncio.shield(self._opening)

    async def _open(self) -> StreamableHTTPSessionManager:
        sessions = await asyncio.to_thread(_session_manager, self._make_server, self._settings)
        begun = asyncio.Event()

        async def live() -> None:
            async with sessions.run():
                begun.set()
                await self._closing.wait()

        self._life = asyncio.create_task(live())
        await begun.wait()
        return sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. The answer is sent when it is whole: until then the connection is watched."""
        answer: list[Message] = []

        async def collect(message: Message) -> None:
            answer.append(message)

        try:
            check_origin(self._settings.transport_security, host=_text(scope, b"host"), origin=_text(scope, b"origin"))
            body = await self._body(scope, receive)
            require_json(header(scope, b"content-type"))
            refused = refusal(body)
            if refused is not None:
                await refused(scope, receive, send)
                return
            async with CancelledWithClient(receive):
                sessions = await self._sessions()
                await sessions.handle_request(_trimmed(scope), _replayed(body), collect)
        except RequestTooLarge as error:
            await send_and_linger(error_response(scope, error), scope, receive, send)
            return
        except SibylError as error:
            await error_response(scope, error)(scope, receive, send)
            return
        except (ClientGone, ClientDisconnect):
            return
        for message in answer:
            await send(message)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        deadline = Deadline.after(self._settings.timeout)
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await read_body(scope, receive, limit=self._settings.max_request_size)
        except TimeoutError:
            raise deadline.exceeded("receive") from None


def _session_manager(make_server: Callable[[], Server[Any]], settings: Mcp) -> StreamableHTTPSessionManager:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    return StreamableHTTPSessionManager(
        make_server(), stateless=True, json_response=True, max_request_body_size=settings.max_request_size
    )


def _replayed(body: bytes) -> Receive:
    """The request as if it had not been read, and then silence."""
    unread = [body]

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nothing sets the event")

    return receive


def _trimmed(scope: Scope) -> Scope:
    """The scope without white space around header values: uvicorn leaves it, and the library compares them exactly."""
    return {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}


def _text(scope: Scope, name: bytes) -> str | None:
    value = header(scope, name)
    return None if value is None else value.decode("latin-1")
