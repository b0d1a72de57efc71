"""The tools as a Model Context Protocol server: the same tools, checks, answers and counts as over REST.

What a tool refuses or fails at is a result with isError, so that the model that called reads the reason and can do
better. Only a tool that does not exist, and a fault of ours, are errors of the protocol, as its specification asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import mcp_types as types
import orjson
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from starlette.requests import ClientDisconnect, Request

from sibyl_runtime import __version__
from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import NotFound, SibylError
from sibyl_runtime.server import catalogue
from sibyl_runtime.server.admission import ClientGone
from sibyl_runtime.server.calls import ToolCalls
from sibyl_runtime.server.reply import reply
from sibyl_runtime.server.request import REQUEST_ID, RequestFacts, facts_of
from sibyl_runtime.workspace import Tool, Workspace

logger = logging.getLogger("sibyl.mcp")
ERROR_META = "sibyl.dev/error"
"""Where a result with isError carries what REST answers: code, message, details and request_id.

Not in structuredContent: clients check that against the tool's output schema, of errors too.
"""
_Context = ServerRequestContext[Any, Any]


def create_mcp_server(workspace: Workspace, calls: ToolCalls) -> Server[Any]:
    """The server for every transport; it keeps no state between requests, so any replica can answer any of them."""
    listed = types.ListToolsResult(tools=[described(tool) for tool in calls.tools.values()])
    schemas = {tool.name: tool.input_schema for tool in listed.tools}

    async def list_tools(_: _Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return listed

    async def call_tool(context: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await _call(calls, _facts(context), params.name, params.arguments or {})

    information = workspace.mcp.server
    return Server(
        information.name,
        version=information.version or __version__,
        description=information.description,
        instructions=information.description or workspace.description,
        get_tool_input_schema=schemas.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def described(tool: Tool) -> types.Tool:
    """One tool as MCP lists it; its schemas are those of REST."""
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=catalogue.input_schema(tool),
        output_schema=catalogue.RESPONSE_SCHEMA,
    )


def text_of(output: Mapping[str, Any]) -> str:
    """The answer and its sources for a model that reads text alone; without an answer, the chunks that were found."""
    answer, sources = output["answer"], output["sources"]
    if answer is None:
        found = [f"{_source(number, source)}\n{source['content']}" for number, source in enumerate(sources, 1)]
        return "\n\n".join(found) or "Nothing was found."
    lines = [_source(number, source) for number, source in enumerate(sources, 1)]
    return "\n".join([answer, "", "Sources:", *lines]) if lines else str(answer)


async def _call(calls: ToolCalls, facts: RequestFacts, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
    async def read() -> Mapping[str, Any]:
        return arguments

    # The library runs handlers in tasks of its own, whose log lines must carry the request's id too.
    REQUEST_ID.set(facts.id)
    try:
        outcome = await calls.answer(name, facts, read, contextlib.nullcontext())
    except NotFound as error:
        if facts.tool is None:
            raise MCPError(types.INVALID_PARAMS, error.message, _told(error, facts)) from None
        return _failure(error, facts)
    except SibylError as error:
        return _failure(error, facts)
    except asyncio.CancelledError:
        calls.abandoned(facts)
        raise
    except (ClientGone, ClientDisconnect):
        raise
    except Exception:
        logger.exception("a tool call failed")
        told = SibylError(f"The server failed; its log names the cause under request id {facts.id}.")
        raise MCPError(types.INTERNAL_ERROR, told.message, _told(told, facts)) from None
    return _success(outcome, facts)


def _success(outcome: ToolOutcome, facts: RequestFacts) -> types.CallToolResult:
    assert facts.tool is not None
    body = reply(facts.tool, outcome, time.perf_counter() - facts.started, request_id=facts.id)
    return types.CallToolResult(
        content=[types.TextContent(text=text_of(outcome.output))],
        # As REST writes it: the same values become the same JSON.
        structured_content=orjson.loads(orjson.dumps(body)),
    )


def _failure(error: SibylError, facts: RequestFacts) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(text=error.message)], is_error=True, _meta={ERROR_META: _told(error, facts)}
    )


def _told(error: SibylError, facts: RequestFacts) -> dict[str, Any]:
    told = {"code": error.code, "message": error.message, "details": error.details, "request_id": facts.id}
    return told if error.retry_after is None else {**told, "retry_after": error.retry_after}


def _facts(context: _Context) -> RequestFacts:
    """Those of the HTTP request; over stdio each call is a request of its own."""
    if isinstance(context.request, Request):
        return facts_of(context.request.scope)
    return RequestFacts(uuid4().hex, time.perf_counter())


def _source(number: int, source: Mapping[str, Any]) -> str:
    parts: Sequence[str] = [part for part in (source["title"], source.get("document")) if part]
    return f"[{number}] {' · '.join(dict.fromkeys(parts))}"
