"""Composes the two applications of a process: the API that clients use, and the one that machines watch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, disable_created_metrics, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, ExceptionHandler

from sibyl_runtime import __version__
from sibyl_runtime.errors import SibylError
from sibyl_runtime.kpi import RuntimeMetrics, TaskCollector, sampling
from sibyl_runtime.server import catalogue, document_schema, stream_schema
from sibyl_runtime.server.calls import ToolCalls, offered_tools
from sibyl_runtime.server.configuration import Configuration, IndexReader
from sibyl_runtime.server.documents import PATHS, add_document_routes
from sibyl_runtime.server.health import Health, Lifecycle
from sibyl_runtime.server.kpis import Kpis
from sibyl_runtime.server.mcp_http import McpEndpoint
from sibyl_runtime.server.openai_dialect import OpenAIDialect
from sibyl_runtime.server.openai_routes import add_openai_routes
from sibyl_runtime.server.page import page_routes
from sibyl_runtime.server.protection import Protection, protection_of
from sibyl_runtime.server.responses import on_http_exception, on_sibyl_error, on_unexpected, on_validation_error
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.server.telemetry import Telemetry
from sibyl_runtime.server.tool_stream import add_stream_route
from sibyl_runtime.server.tools import add_tool_routes
from sibyl_runtime.server.traced_calls import tool_calls
from sibyl_runtime.server.warming import Warmable, Warming, warming_of
from sibyl_runtime.tracing import UNTRACED, Tracing
from sibyl_runtime.workspace import Workspace

if TYPE_CHECKING:
    from mcp.server import Server

_HANDLERS: Mapping[Any, ExceptionHandler] = {
    SibylError: on_sibyl_error,
    HTTPException: on_http_exception,
    RequestValidationError: on_validation_error,
    Exception: on_unexpected,
}


@dataclass(frozen=True)
class Applications:
    """`api` for clients, `watch` for Prometheus, kubelet and the operator. The API's lifespan closes the runtime."""

    api: ASGIApp
    watch: ASGIApp


def create_applications(
    runtime: ServedRuntime,
    metrics: RuntimeMetrics,
    lifecycle: Lifecycle,
    *,
    index: IndexReader | None = None,
    tracing: Tracing = UNTRACED,
    warms: Warmable | None = None,
) -> Applications:
    """Both applications over one open runtime; `index` reads the state of the vector index for GET /config, `warms` is
    the runtime again where its caches are to be warmed.

    Raises StartupError for API keys that would let everybody in, and for other protections that cannot be kept.
    """
    protection = protection_of(runtime, metrics.rate_limited)
    calls = tool_calls(protection.runtime, metrics, tracing)
    warming = warming_of(warms, calls.gate, lifecycle, metrics.warming)
    health = Health(runtime, lifecycle, warming=None if warming is None else warming.told)
    shared = [*health.routes(), Configuration(runtime, index).route(), Kpis(metrics.indicators).route()]
    return Applications(
        api=Telemetry(
            OpenAIDialect(_api(protection, metrics, health, shared, calls, warming), runtime.workspace.mcp), metrics
        ),
        watch=Telemetry(_watch(metrics.registry, shared), metrics),
    )


def _api(
    protection: Protection,
    metrics: RuntimeMetrics,
    health: Health,
    shared: list[BaseRoute],
    calls: ToolCalls,
    warming: Warming | None,
) -> FastAPI:
    runtime = protection.runtime
    mcp = McpEndpoint(lambda: _mcp_server(runtime.workspace, calls), runtime.workspace.mcp)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with sampling(metrics.indicators), mcp.running(), warming.running() if warming else nullcontext():
            yield
        await health.close()
        await protection.close()
        await runtime.close()

    server = runtime.workspace.mcp.server
    # No /docs and /redoc: their pages load scripts from another company's network.
    app = FastAPI(
        title=server.name,
        description=server.description or runtime.workspace.description or "",
        version=server.version or __version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # The runtime traces and counts by itself; the framework would look for a collector at each request.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        exception_handlers=dict(_HANDLERS),
    )
    add_tool_routes(app, runtime, calls)
    add_stream_route(app, runtime, calls)
    add_openai_routes(app, runtime, calls)
    if runtime.workspace.mcp.enabled:
        app.router.routes.append(mcp.route())
    if runtime.workspace.mcp.ingestion:
        add_document_routes(app, runtime)
    app.router.routes.extend([*page_routes(runtime.workspace), *shared])
    _describe(app, runtime)
    protection.surround(app)
    return app


def _mcp_server(workspace: Workspace, calls: ToolCalls) -> Server[Any]:
    from sibyl_runtime.server.mcp_server import create_mcp_server

    return create_mcp_server(workspace, calls)


def _watch(registry: CollectorRegistry, shared: list[BaseRoute]) -> Starlette:
    """Without a key: nothing in it is secret, and its port is not given to clients."""
    # The library's own switch is global: a second series with the birth of each counter tells nobody anything here.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation here
    registry.register(TaskCollector())

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[Route("/metrics", metrics, methods=["GET"]), *shared],
        exception_handlers=dict(_HANDLERS),
    )


def _describe(app: FastAPI, runtime: ServedRuntime) -> None:
    """/openapi.json with one operation per tool, and those under /documents, made once."""
    generated = app.openapi
    tools = list(offered_tools(runtime.workspace).values())

    def described() -> dict[str, Any]:
        document = generated()
        document["paths"] |= catalogue.operations(tools)
        document["paths"] |= stream_schema.operations(tools)
        if runtime.workspace.mcp.ingestion:
            document["paths"] |= document_schema.operations(PATHS)
        return document

    app.openapi = described  # type: ignore[method-assign]  # the way that FastAPI documents
