"""The outermost layer of every request: its id, its clock, its counters and its line in the log.

It wraps the whole application, the framework's error handling included, so that no answer leaves without its headers.
"""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sibyl_runtime.errors import Overloaded
from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.server.request import REQUEST_ID, RequestFacts, attach, header, request_id
from sibyl_runtime.server.responses import error_response

logger = logging.getLogger("sibyl.request")
COUNTED_PREFIXES = ("/mcp", "/v1/")
TOLD_PREFIXES = (*COUNTED_PREFIXES, "/documents")
CLIENT_CLOSED_REQUEST = 499
"""Not sent: what is counted for a client that went away before its answer (the number that nginx made customary)."""
STOPPED = Overloaded("The server is shutting down and could not finish this request; send it again.", retry_after=1.0)


class Telemetry:
    """Pure ASGI. Requests to the tools' API are counted and logged at INFO, as are those that change documents; probes
    are logged at DEBUG. An ingest is counted by its pipeline: among the questions it would only blur their times."""

    def __init__(self, app: ASGIApp, metrics: RuntimeMetrics) -> None:
        self._app = app
        self._metrics = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts = RequestFacts(request_id(header(scope, b"x-request-id")), time.perf_counter(), headers=scope["headers"])
        attach(scope, facts)
        REQUEST_ID.set(facts.id)
        counted = scope["path"].startswith(COUNTED_PREFIXES)
        told = scope["path"].startswith(TOLD_PREFIXES)
        if counted:
            self._metrics.started()
        sending = _with_headers(facts, send)
        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            # The server stops, and this request took longer than it was given. Its task ends here in any case.
            if facts.status is None:
                await error_response(scope, STOPPED)(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - facts.started
            status = facts.status or CLIENT_CLOSED_REQUEST
            if counted:
                self._metrics.finished(scope["method"], status, seconds)
            _log(scope, facts, status, seconds, logging.INFO if told else logging.DEBUG)


def _with_headers(facts: RequestFacts, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            facts.status = message["status"]
            milliseconds = (time.perf_counter() - facts.started) * 1000
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", facts.id.encode("latin-1")),
                (b"x-execution-time-ms", b"%.2f" % milliseconds),
            ]
        await send(message)

    return send_with_headers


def _log(scope: Scope, facts: RequestFacts, status: int, seconds: float, level: int) -> None:
    if not logger.isEnabledFor(level):
        return
    fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 2)}
    if facts.cache is not None:
        fields["cache"] = facts.cache
    if facts.caller is not None:
        fields["caller"] = facts.caller
    if facts.trace_id is not None:
        fields["trace_id"] = facts.trace_id
    logger.log(level, "request", extra={"fields": fields})
