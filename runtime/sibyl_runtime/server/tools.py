"""The tools' API: list them, describe one, call one."""

from __future__ import annotations

import asyncio
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
from sibyl_runtime.kpi import ANSWER_CACHE, RuntimeMetrics
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.server import catalogue
from sibyl_runtime.server.admission import CancelledWithClient, ClientGone, ConcurrencyGate
from sibyl_runtime.server.body import read_json_object, send_and_linger
from sibyl_runtime.server.reply import reply
from sibyl_runtime.server.request import RequestFacts, facts_of
from sibyl_runtime.server.responses import JSON, error_response
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.workspace import Tool, Workspace

# The pipeline keeps the deadline itself and names the stage that ran out of time. This is for what does not heed it.
OVERTIME_SECONDS = 0.25


class ToolCall:
    """POST /mcp/tools/{name}. An ASGI endpoint: it watches the connection itself, and this is the hot path.

    Routes that answer otherwise share the places of one `gate`, and put their own in for `_arguments`, `_call` and
    `_response`: what is checked, bounded and counted is then the same for all.
    """

    def __init__(self, runtime: ServedRuntime, metrics: RuntimeMetrics, gate: ConcurrencyGate) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._tools = offered_tools(runtime.workspace)
        self._settings = runtime.workspace.mcp
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        facts = facts_of(scope)
        try:
            tool = catalogue.find_tool(self._tools, scope["path_params"]["name"])
            facts.tool = tool.name
            with self._gate:
                outcome = await self._answer(tool.name, scope, receive)
        except RequestTooLarge as error:
            self._failed(facts, error)
            await send_and_linger(error_response(scope, error), scope, receive, send)
            return
        except SibylError as error:
            self._failed(facts, error)
            await error_response(scope, error)(scope, receive, send)
            return
        except (ClientGone, ClientDisconnect):
            if facts.tool is not None:
                self._metrics.tools.abandoned(facts.tool, time.perf_counter() - facts.started)
            return
        except Exception:
            self._failed(facts, SibylError("unexpected"))
            raise
        await self._response(scope, outcome)(scope, receive, send)

    async def _answer(self, tool: str, scope: Scope, receive: Receive) -> ToolOutcome:
        deadline = Deadline.after(self._settings.timeout)
        stage = "receive"
        overtime = asyncio.timeout(self._settings.timeout + OVERTIME_SECONDS)
        try:
            async with overtime:
                arguments = await self._arguments(scope, receive)
                stage = "call"
                async with CancelledWithClient(receive):
                    return await self._call(scope, tool, arguments, deadline)
        except TimeoutError:
            if not overtime.expired():
                raise
            raise deadline.exceeded(stage) from None

    async def _arguments(self, scope: Scope, receive: Receive) -> Mapping[str, Any]:
        return await read_json_object(scope, receive, limit=self._settings.max_request_size)

    async def _call(self, scope: Scope, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> ToolOutcome:
        return await self._runtime.call_tool(tool, arguments, deadline=deadline)

    def _failed(self, facts: RequestFacts, error: SibylError) -> None:
        if facts.tool is not None:
            self._metrics.tools.failed(facts.tool, error.code, error.status, time.perf_counter() - facts.started)

    def _response(self, scope: Scope, outcome: ToolOutcome) -> ASGIApp:
        facts = facts_of(scope)
        seconds = self._answered(facts, outcome)
        body = reply(str(facts.tool), outcome, seconds, request_id=facts.id)
        return JSON(body, headers={"X-Sibyl-Cache": outcome.cache})

    def _answered(self, facts: RequestFacts, outcome: ToolOutcome) -> float:
        """Count the answer; how long it took, in seconds."""
        seconds = time.perf_counter() - facts.started
        facts.cache = outcome.cache
        assert facts.tool is not None
        if self._metrics.caches is not None and outcome.cache != "off":
            self._metrics.caches.asked(ANSWER_CACHE, hit=outcome.cache == "hit")
        self._metrics.tools.answered(facts.tool, seconds, outcome.tokens_used)
        return seconds


def add_tool_routes(app: FastAPI, runtime: ServedRuntime, metrics: RuntimeMetrics, gate: ConcurrencyGate) -> None:
    """The routes under /mcp/tools. Directly on the application, so that its list of routes is flat."""
    tools = offered_tools(runtime.workspace)

    @app.get("/mcp/tools", response_class=JSON, summary="List the tools", tags=["tools"])
    async def list_tools(query: Annotated[catalogue.ToolsQuery, Query()]) -> Response:
        return JSON(catalogue.page(list(tools.values()), query))

    @app.get("/mcp/tools/{name}", response_class=JSON, summary="Describe a tool", tags=["tools"])
    async def describe_tool(name: str) -> Response:
        return JSON(catalogue.detail(catalogue.find_tool(tools, name)))

    app.router.routes.append(Route("/mcp/tools/{name}", ToolCall(runtime, metrics, gate), methods=["POST"]))


def offered_tools(workspace: Workspace) -> Mapping[str, Tool]:
    """The tools that clients may call: none when mcp.enabled is false."""
    return workspace.effective_tools if workspace.mcp.enabled else {}
