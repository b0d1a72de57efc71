"""`sibyl mcp`: the tools of a workspace over stdin and stdout, for a client that starts its servers itself.

Only the protocol may write to stdout: the library diverts it to stderr while it serves, and logs go there in any case.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.cli.joining import joined
from sibyl_runtime.cli.run import run_async
from sibyl_runtime.cli.warnings import log_notices
from sibyl_runtime.kpi import MeteredEngine
from sibyl_runtime.runtime import Runtime
from sibyl_runtime.server.calls import ToolCalls
from sibyl_runtime.server.instrumentation import metered, metrics_for
from sibyl_runtime.server.logs import configure_logging
from sibyl_runtime.server.mcp_server import create_mcp_server
from sibyl_runtime.server.mcp_stdio import serve_stdio
from sibyl_runtime.server.process import StopSignal
from sibyl_runtime.server.protection.one_caller import LimitedRuntime
from sibyl_runtime.server.traced_calls import tool_calls
from sibyl_runtime.techniques import REGISTRY
from sibyl_runtime.tracing import open_tracing
from sibyl_runtime.workspace import WorkspaceInvalid, parse_workspace, problem_at


def mcp(file: Path, *, data_directory: Path | None) -> None:
    """Serve until stdin ends or a signal comes."""
    run_async(lambda: _mcp(file, data_directory))


async def _mcp(file: Path, data_directory: Path | None) -> None:
    settings = settings_for(data_directory)
    source = joined(read_document(file), settings, os.environ)
    workspace = parse_workspace(source.raw, source=source.source, lines=source.lines, environ=os.environ)
    if not workspace.mcp.enabled:
        at = ("mcp", "enabled")
        message = "is false, so there is no tool to serve; set it to true, or do not run `sibyl mcp`"
        raise WorkspaceInvalid([problem_at(at, message, source.lines)], source.source)
    written = workspace.observability.logging
    configure_logging(settings.log_level or written.level, written.format)
    tracing = open_tracing(workspace, os.environ)
    metrics = metrics_for(workspace)
    log_notices(workspace, source)
    runtime = await Runtime.open(
        source, os.environ, settings, instrument=lambda services: tracing.services(metered(services, metrics))
    )
    try:
        runtime.engine = MeteredEngine(runtime.services, metrics, tracing.techniques(REGISTRY))
        limited = LimitedRuntime.of(runtime, metrics.rate_limited)
        try:
            signalled = await _until_stopped(runtime, tool_calls(limited, metrics, tracing))
        finally:
            await limited.close_buckets()
    finally:
        await runtime.close()
        await tracing.close()
    if signalled is not None:
        sys.stderr.flush()
        # A thread waits for a line of stdin, which nothing can interrupt; an orderly exit would wait for it.
        os._exit(ExitCode.INTERRUPTED if signalled is signal.SIGINT else ExitCode.OK)


async def _until_stopped(runtime: Runtime, calls: ToolCalls) -> signal.Signals | None:
    """Serve. The signal that came; None when the client closed stdin."""
    stop = StopSignal()
    stop.install()
    serving = asyncio.ensure_future(serve_stdio(create_mcp_server(runtime.workspace, calls)))
    asked = asyncio.ensure_future(stop.asked.wait())
    await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if serving.done():
        serving.result()
    return stop.received
