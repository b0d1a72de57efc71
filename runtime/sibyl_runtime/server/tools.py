"""The tools' API: list them, describe one, call one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import RequestTooLarge, SibylError
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.server import catalogue
from sibyl_runtime.server.admission import CancelledWithClient, ClientGone
from sibyl_runtime.server.body import read_json_object, send_and_linger
from sibyl_runtime.server.calls import ToolCalls
from sibyl_runtime.server.reply import cache_header, reply
from sibyl_runtime.server.request import facts_of
from sibyl_runtime.server.responses import JSON, error_response
from sibyl_runtime.server.seam import ServedRuntime


class ToolCall:
    """POST /mcp/tools/{name}. An ASGI endpoint: it watches the connection itself, and this is the hot path.

    Routes that answer otherwise put their own in for `_arguments`, `_call` and `_response`: what is checked, bounded
    and counted is then the same for all.
    """

    def __init__(self, calls: ToolCalls, *, max_request_size: int) -> None:
        self._calls = calls
        self._max_request_size = max_request_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""

        async def read() -> Mapping[str, Any]:
            return await self._arguments(scope, receive)

        async def call(tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> ToolOutcome:
            return await self._call(scope, tool, arguments, deadline)

        facts = facts_of(scope)
        name = scope["path_params"]["name"]
        try:
            outcome = await self._calls.answer(name, facts, read, CancelledWithClient(receive), call)
        except RequestTooLarge as error:
            await send_and_linger(error_response(scope, error), scope, receive, send)
            return
        except SibylError as error:
            await error_response(scope, error)(scope, receive, send)
            return
        except (ClientGone, ClientDisconnect):
            return
        await self._response(scope, outcome)(scope, receive, send)

    async def _arguments(self, scope: Scope, receive: Receive) -> Mapping[str, Any]:
        return await read_json_object(scope, receive, limit=self._max_request_size)

    async def _call(self, scope: Scope, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> ToolOutcome:
        return await self._calls.call(tool, arguments, deadline)

    def _response(self, scope: Scope, outcome: ToolOutcome) -> ASGIApp:
        facts = facts_of(scope)
        body = reply(str(facts.tool), outcome, time.perf_counter() - facts.started, request_id=facts.id)
        return JSON(body, headers={"X-Sibyl-Cache": cache_header(outcome)})


def add_tool_routes(app: FastAPI, runtime: ServedRuntime, calls: ToolCalls) -> None:
    """The routes under /mcp/tools. Directly on the application, so that its list of routes is flat."""
    tools = calls.tools

    @app.get("/mcp/tools", response_class=JSON, summary="List the tools", tags=["tools"])
    async def list_tools(query: Annotated[catalogue.ToolsQuery, Query()]) -> Response:
        return JSON(catalogue.page(list(tools.values()), query))

    @app.get("/mcp/tools/{name}", response_class=JSON, summary="Describe a tool", tags=["tools"])
    async def describe_tool(name: str) -> Response:
        return JSON(catalogue.detail(catalogue.find_tool(tools, name)))

    call = ToolCall(calls, max_request_size=runtime.workspace.mcp.max_request_size)
    # First, since routes are tried in turn, and most requests are for this one.
    app.router.routes.insert(0, Route("/mcp/tools/{name}", call, methods=["POST"]))
