"""`sibyl serve`: from a document to a process that answers, and back to nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sibyl_runtime.cli import elapsed
from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.cli.run import run_async
from sibyl_runtime.cli.tuning import Tuning, read_tuning
from sibyl_runtime.cli.warnings import log_notices
from sibyl_runtime.errors import StartupError
from sibyl_runtime.kpi import MeteredEngine, RuntimeMetrics
from sibyl_runtime.opening import shown_embedder
from sibyl_runtime.pipeline.context import Services
from sibyl_runtime.runtime import Runtime, Settings
from sibyl_runtime.server.app import create_applications
from sibyl_runtime.server.configuration import IndexReader
from sibyl_runtime.server.description import PreparesSearch, TellsIndex, describe
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.server.instrumentation import collect_caches, identify, metered, metrics_for
from sibyl_runtime.server.logs import Format, configure_logging
from sibyl_runtime.server.process import Draining, Listeners, StopSignal
from sibyl_runtime.server.process import serve as serve_applications
from sibyl_runtime.server.sockets import bind, url_of
from sibyl_runtime.techniques import REGISTRY
from sibyl_runtime.tracing import Tracing, open_tracing
from sibyl_runtime.workspace import SourceDocument, Workspace, parse_workspace

SHUTDOWN_SECONDS = 25.0
"""For requests in flight after the signal; less than the 30 s after which Kubernetes kills a pod."""
logger = logging.getLogger("sibyl.server")
Value = TypeVar("Value")


@dataclass(frozen=True)
class ServeOptions:
    """The command line of `sibyl serve`; None where it says nothing."""

    file: Path
    host: str | None
    port: int | None
    metrics_port: int | None
    data_directory: Path | None
    drain_seconds: float
    json_logs: bool
    cpus: str | None = None
    gc_threshold: str | None = None


@dataclass(frozen=True)
class _Opened:
    """An open runtime, what it is made of in words, the reader of its vector index, and what records its calls."""

    runtime: Runtime
    parts: Sequence[str]
    index: IndexReader | None
    tracing: Tracing


@dataclass(frozen=True)
class _Telling:
    """What is told of the start, and to whom."""

    for_people: bool
    tuning: Tuning


class _StoppedEarly(Exception):
    """The signal came before the runtime was open."""


def serve(options: ServeOptions) -> None:
    """Serve until a signal. Ends the process with an ExitCode."""
    tuning = read_tuning(options.cpus, options.gc_threshold)
    tuning.apply()
    raise SystemExit(run_async(lambda: _serve(options, tuning)))


async def _serve(options: ServeOptions, tuning: Tuning) -> ExitCode:
    stop = StopSignal()
    stop.install()
    source = read_document(options.file)
    settings = settings_for(options.data_directory)
    workspace = parse_workspace(source.raw, source=source.source, lines=source.lines, environ=os.environ)
    form = _log_format(workspace, json_logs=options.json_logs)
    configure_logging(settings.log_level or workspace.observability.logging.level, form)
    if workspace.mcp.transport == "stdio":
        raise StartupError(
            "mcp.transport is stdio, which has no port to serve; run `sibyl mcp` for it, or set mcp.transport to http"
        )
    log_notices(workspace, source)
    listeners = _listen(workspace, settings, options)
    try:
        tracing = open_tracing(workspace, os.environ)
        metrics = metrics_for(workspace)
        opened = await _unless_stopped(stop, _open(source, settings, metrics, tracing))
        try:
            telling = _Telling(for_people=form == "text", tuning=tuning)
            await _run(opened, metrics, listeners, stop, drain_seconds=options.drain_seconds, telling=telling)
        finally:
            await opened.runtime.close()
            await tracing.close()
    except _StoppedEarly:
        return ExitCode.INTERRUPTED if stop.received is signal.SIGINT else ExitCode.OK
    finally:
        listeners.close()
    return ExitCode.OK


async def _run(
    opened: _Opened,
    metrics: RuntimeMetrics,
    listeners: Listeners,
    stop: StopSignal,
    *,
    drain_seconds: float,
    telling: _Telling,
) -> None:
    lifecycle = Lifecycle()

    def ready(connections: Callable[[], int]) -> None:
        metrics.families.reading("sibyl_mcp_active_connections", "Open client connections.", connections)
        _announce(opened.parts, listeners, telling)

    timeout = min(SHUTDOWN_SECONDS, opened.runtime.workspace.mcp.timeout + 1.0)
    await serve_applications(
        create_applications(
            opened.runtime,
            metrics,
            lifecycle,
            index=opened.index,
            tracing=opened.tracing,
            warms=opened.runtime,
        ),
        listeners,
        lifecycle,
        stop,
        draining=Draining(drain_seconds, timeout),
        on_ready=ready,
    )


async def _open(source: SourceDocument, settings: Settings, metrics: RuntimeMetrics, tracing: Tracing) -> _Opened:
    """The runtime with all of it counted, and traced where that is asked for."""
    bare: list[Services] = []

    def instrument(services: Services) -> Services:
        bare.append(services)
        return tracing.services(metered(services, metrics))

    runtime = await Runtime.open(source, os.environ, settings, instrument=instrument)
    runtime.engine = MeteredEngine(runtime.services, metrics, tracing.techniques(REGISTRY))
    collect_caches(runtime.caches, metrics)
    identify(metrics, config_hash=runtime.config_hash, embedder=shown_embedder(runtime.services))
    store = bare[0].store
    index = store.index_state if isinstance(store, TellsIndex) else None
    if isinstance(store, PreparesSearch):
        try:
            await store.prepare_search()
        except BaseException:
            await runtime.close()
            raise
    return _Opened(runtime, await describe(bare[0]), index, tracing)


def _log_format(workspace: Workspace, *, json_logs: bool) -> Format:
    """--json wins, then what the document says; where neither says anything, a terminal gets text."""
    if json_logs:
        return "json"
    written = workspace.observability.logging
    if "format" not in written.model_fields_set and sys.stderr.isatty():
        return "text"
    return written.format


def _listen(workspace: Workspace, settings: Settings, options: ServeOptions) -> Listeners:
    host = options.host or settings.host or workspace.mcp.host
    port = _first(options.port, settings.port, workspace.mcp.port)
    api = bind(host, port, setting="--port, $SIBYL_PORT or mcp.port")
    metrics = workspace.observability.metrics
    if not metrics.enabled:
        return Listeners(api, None)
    watch_port = _first(options.metrics_port, settings.metrics_port, metrics.port)
    try:
        watch = bind(host, watch_port, setting="--metrics-port, $SIBYL_METRICS_PORT or observability.metrics.port")
    except BaseException:
        api.close()
        raise
    return Listeners(api, watch)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


async def _unless_stopped(stop: StopSignal, opening: Awaitable[Value]) -> Value:
    """The opened runtime; _StoppedEarly, after whatever was half open is closed, when the signal comes first."""
    task = asyncio.ensure_future(opening)
    asked = asyncio.ensure_future(stop.asked.wait())
    try:
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task})
    raise _StoppedEarly


def _announce(parts: Sequence[str], listeners: Listeners, telling: _Telling) -> None:
    """What runs and where: a log line, and two lines on stdout where the log is for people too."""
    api = url_of(listeners.api)
    watch = url_of(listeners.watch) if listeners.watch is not None else None
    seconds = round(elapsed(), 2)
    fields = {"seconds": seconds, "parts": parts, "api": api, "metrics": watch, **telling.tuning.told()}
    logger.info("ready", extra={"fields": fields})
    if telling.for_people:
        print(f"● ready in {seconds:.1f} s   {' · '.join(parts)}")
        print(f"  tools {api}/mcp/tools" + (f"   metrics {watch}/metrics" if watch else "") + "   Ctrl-C stops")
        sys.stdout.flush()
