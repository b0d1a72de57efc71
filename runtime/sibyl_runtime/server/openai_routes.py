"""/v1/chat/completions and /v1/models: the answering tools for whatever speaks OpenAI's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import NotFound, RequestTooLarge, SibylError
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.server import openai_shapes as shapes
from sibyl_runtime.server.body import read_json_object, send_and_linger
from sibyl_runtime.server.calls import ToolCalls
from sibyl_runtime.server.reply import cache_header
from sibyl_runtime.server.request import facts_of
from sibyl_runtime.server.responses import JSON, error_response
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.server.tool_stream import Format, ToolStream
from sibyl_runtime.server.tools import ToolCall
from sibyl_runtime.workspace import Workspace

_ASKED = "sibyl.asked"
_EXPECTED = 'an object, such as {"model": "...", "messages": [{"role": "user", "content": "How do I ...?"}]}'


class _Completion(ToolCall):
    """A ToolCall that was asked, and answers, in OpenAI's form."""

    async def _arguments(self, scope: Scope, receive: Receive) -> Mapping[str, Any]:
        return _question(scope)

    def _response(self, scope: Scope, outcome: ToolOutcome) -> ASGIApp:
        facts = facts_of(scope)
        seconds = time.perf_counter() - facts.started
        body = shapes.completion(_asked(scope), outcome, seconds, request_id=facts.id, created=int(time.time()))
        return JSON(body, headers={"X-Sibyl-Cache": cache_header(outcome)})


class _StreamedCompletion(ToolStream):
    """A ToolStream that was asked, and answers, in OpenAI's form."""

    async def _arguments(self, scope: Scope, receive: Receive) -> Mapping[str, Any]:
        return _question(scope)


class ChatCompletions:
    """POST /v1/chat/completions. What is asked decides which tool answers, so the body is read before the call."""

    def __init__(self, workspace: Workspace, calls: ToolCalls) -> None:
        self._workspace = workspace
        self._tools = shapes.answering_tools(workspace, calls.tools)
        self._settings = workspace.mcp
        self._gate = calls.gate
        size = workspace.mcp.max_request_size
        self._whole = _Completion(calls, max_request_size=size)
        self._streamed = _StreamedCompletion(calls, max_request_size=size, form=_chunks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            # To read takes a place as well: bodies of requests that will be refused must not pile up.
            with self._gate:
                asking = shapes.asked(await self._read(scope, receive), self._workspace, self._tools)
        except RequestTooLarge as error:
            await send_and_linger(error_response(scope, error), scope, receive, send)
        except SibylError as error:
            await error_response(scope, error)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            scope["path_params"] = {"name": asking.tool}
            scope[_ASKED] = asking
            await (self._streamed if asking.stream else self._whole)(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        deadline = Deadline.after(self._settings.timeout)
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await read_json_object(scope, receive, limit=self._settings.max_request_size, expected=_EXPECTED)
        except TimeoutError:
            raise deadline.exceeded("receive") from None


def add_openai_routes(app: FastAPI, runtime: ServedRuntime, calls: ToolCalls) -> None:
    """The routes under /v1, directly on the application."""
    workspace = runtime.workspace
    tools = shapes.answering_tools(workspace, calls.tools)
    listed = shapes.models(workspace, tools, created=int(time.time()))
    by_name = {model["id"]: model for model in listed["data"]}

    @app.get("/v1/models", response_class=JSON, summary="List the models: the answering tools", tags=["openai"])
    async def list_models() -> Response:
        return JSON(listed)

    @app.get("/v1/models/{name}", response_class=JSON, summary="Describe a model", tags=["openai"])
    async def describe_model(name: str) -> Response:
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise NotFound(f'there is no model "{name[:100]}"; known: {known}', details={"param": "model"})
        return JSON(by_name[name])

    app.router.routes.append(Route("/v1/chat/completions", ChatCompletions(workspace, calls), methods=["POST"]))


def _asked(scope: Scope) -> shapes.Asked:
    found = scope[_ASKED]
    assert isinstance(found, shapes.Asked)
    return found


def _question(scope: Scope) -> Mapping[str, Any]:
    return {shapes.QUERY: _asked(scope).question}


def _chunks(scope: Scope) -> Format:
    return shapes.CompletionChunks(_asked(scope), request_id=facts_of(scope).id, created=int(time.time()))
