"""The routes under /documents: a running service takes documents, and forgets those that their source no longer has.

Every request is small and ends: it has a deadline, and what it stored stays when it fails, so that a client simply
sends it again. One is worked on at a time, another one waits with its body read; the next is told to come back. The
embedding model takes questions before documents: one waits for a single small batch of them at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sibyl_runtime.errors import RequestTooLarge, SibylError
from sibyl_runtime.ingestion import loading_settings
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.runtime import IngestReport
from sibyl_runtime.server.admission import CancelledWithClient, ClientGone, ConcurrencyGate
from sibyl_runtime.server.body import read_json_object, send_and_linger
from sibyl_runtime.server.document_schema import (
    DEFAULT_PIPELINE,
    MOST_DOCUMENTS,
    PRUNE,
    STORE,
    given_documents,
    given_prune,
    shown,
)
from sibyl_runtime.server.responses import JSON, error_response
from sibyl_runtime.server.seam import ServedRuntime

PLACES = 2
"""One request is worked on, one is ready to be: what more of them hold in memory would buy no speed."""
PATIENCE = 10
"""How many times mcp.timeout a request may take: nobody waits as for an answer, and a document is stored whole."""
RETRY_SECONDS = 2.0
OVERTIME_SECONDS = 0.25
PATHS = {"/documents": STORE, "/documents/prune": PRUNE}
_FULL = "All {limit} places for ingests are taken; send the same again after the seconds in Retry-After."
_EXPECTED = 'an object, such as {"source": "handbook", "documents": [{"id": "leave.md", "text": "..."}]}'
_EXPECTED_PRUNE = 'an object, such as {"source": "handbook", "keep": ["leave.md"]}'

Work = Callable[[Mapping[str, Any], Deadline], Awaitable[IngestReport]]


class SettingsQuery(BaseModel):
    """Which pipeline is asked about."""

    model_config = ConfigDict(extra="forbid")

    pipeline: str = DEFAULT_PIPELINE


class DocumentsRoute:
    """POST under /documents. An ASGI endpoint, as ToolCall is: it watches the connection itself."""

    def __init__(self, work: Work, gate: ConcurrencyGate, *, timeout: float, limit: int, expected: str) -> None:
        self._work = work
        self._gate = gate
        self._timeout = timeout
        self._limit = limit
        self._expected = expected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            with self._gate:
                report = await self._answer(scope, receive)
        except RequestTooLarge as error:
            await send_and_linger(error_response(scope, error), scope, receive, send)
        except SibylError as error:
            await error_response(scope, error)(scope, receive, send)
        except (ClientGone, ClientDisconnect):
            return
        else:
            await JSON(shown(report))(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> IngestReport:
        deadline = Deadline.after(self._timeout * PATIENCE)
        body = await self._read(scope, receive)
        overtime = asyncio.timeout((deadline.remaining() or 0.0) + OVERTIME_SECONDS)
        try:
            async with overtime, CancelledWithClient(receive):
                return await self._work(body, deadline)
        except TimeoutError:
            if not overtime.expired():
                raise
            raise deadline.exceeded("ingest") from None

    async def _read(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        """The body. It gets the time of a question: one that trickles in must not hold a place for longer."""
        deadline = Deadline.after(self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                return await read_json_object(scope, receive, limit=self._limit, expected=self._expected)
        except TimeoutError:
            raise deadline.exceeded("receive") from None


def add_document_routes(app: FastAPI, runtime: ServedRuntime) -> None:
    """The routes under /documents, directly on the application."""
    settings = runtime.workspace.mcp
    seconds = settings.timeout * PATIENCE
    gate = ConcurrencyGate(PLACES, full=_FULL, retry_after=RETRY_SECONDS)

    async def store(body: Mapping[str, Any], deadline: Deadline) -> IngestReport:
        # Off the event loop: a full body is a thousand documents, and questions are being answered.
        given, pipeline = await asyncio.to_thread(given_documents, body)
        return await runtime.store_documents(given, pipeline=pipeline, deadline=deadline)

    async def prune(body: Mapping[str, Any], deadline: Deadline) -> IngestReport:
        source, keep, within = await asyncio.to_thread(given_prune, body)
        return await runtime.prune_documents(source, keep, within=within, deadline=deadline)

    @app.get("/documents/settings", response_class=JSON, summary="How to load documents", tags=["documents"])
    async def loading(query: Annotated[SettingsQuery, Query()]) -> Response:
        config = loading_settings(runtime.workspace, query.pipeline)
        limits = {"documents": MOST_DOCUMENTS, "bytes": settings.max_request_size, "seconds": seconds}
        # Where files are and how they are passed on is the business of whoever reads them.
        load = config.model_dump(exclude={"path", "streaming", "chunk_size", "dsn", "query", "query_timeout"})
        return JSON({"pipeline": query.pipeline, "load": load, "limits": limits})

    for path, work, expected in (
        ("/documents", store, _EXPECTED),
        ("/documents/prune", prune, _EXPECTED_PRUNE),
    ):
        endpoint = DocumentsRoute(
            work, gate, timeout=settings.timeout, limit=settings.max_request_size, expected=expected
        )
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
