"""A real server over a runtime that answers as a test says: for faults that real parts do not produce on demand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import yaml

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.pipeline.context import Deadline, Services, SkippedFile, StageTiming
from sibyl_runtime.pipeline.listening import Listener
from sibyl_runtime.runtime import IngestReport
from sibyl_runtime.server.app import create_applications
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.server.instrumentation import identify, metrics_for
from sibyl_runtime.server.process import Draining, Listeners, StopSignal, serve
from sibyl_runtime.server.sockets import bind
from sibyl_runtime.store.records import IdRange
from sibyl_runtime.techniques.receive_documents import GivenDocuments
from sibyl_runtime.workspace import SourceDocument, Workspace, load_document, parse_workspace

Answer = Callable[[str, Mapping[str, Any], Deadline], Awaitable[ToolOutcome]]
Narrate = Callable[[Listener, Deadline], Awaitable[None]]
STAGES = (
    StageTiming("search", "retrieval", "embed", 0.0021),
    StageTiming("search", "retrieval", "retrieve", 0.0009),
    StageTiming("search", "generation", "generate", 0.0, skipped=True),
)
OUTPUT = {
    "answer": "In the Secret.",
    "sources": [{"title": "Database", "content": "...", "score": 0.71, "document": "docs/database.md"}],
}
OUTCOME = ToolOutcome(output=OUTPUT, tokens_used=12, cost_usd=None, stages=STAGES, cache="off", seconds=0.005)

REPORT = IngestReport(2, 5, 1, 1, 0, 0.5, [SkippedFile("empty.md", "empty")])


class FakeStore:
    """Answers checks as told."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.hangs = False

    async def check(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault


class FakeEmbedder:
    tag = "all-MiniLM-L6-v2@test/int8"


async def answer_at_once(_: str, __: Mapping[str, Any], ___: Deadline) -> ToolOutcome:
    return OUTCOME


async def store_at_once(_: Deadline) -> IngestReport:
    return REPORT


@dataclass
class ScriptedRuntime:
    """Implements ServedRuntime; `answer` is what a tool call does."""

    workspace: Workspace
    source: SourceDocument
    answer: Answer = answer_at_once
    narrate: Narrate | None = None
    """What a listener hears before `answer`."""
    store: FakeStore = field(default_factory=FakeStore)
    config_hash: str = "v1-0123456789ab"
    description: tuple[str, ...] = ("test",)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    store_work: Callable[[Deadline], Awaitable[IngestReport]] = store_at_once
    given: list[tuple[GivenDocuments, str]] = field(default_factory=list)
    pruned: list[tuple[str, list[str], IdRange]] = field(default_factory=list)
    closed: bool = False

    @property
    def services(self) -> Services:
        parts = {"store": self.store, "embedder": FakeEmbedder(), "workspace": self.workspace}
        return cast("Services", type("Parts", (), parts))

    async def call_tool(
        self, tool: str, arguments: Mapping[str, Any], *, deadline: Deadline, listener: Listener | None = None
    ) -> ToolOutcome:
        self.calls.append(arguments)
        if listener is not None and self.narrate is not None:
            await self.narrate(listener, deadline)
        return await self.answer(tool, arguments, deadline)

    async def store_documents(self, given: GivenDocuments, *, pipeline: str, deadline: Deadline) -> IngestReport:
        self.given.append((given, pipeline))
        return await self.store_work(deadline)

    async def prune_documents(
        self, source: str, keep: Sequence[str], *, within: IdRange, deadline: Deadline
    ) -> IngestReport:
        self.pruned.append((source, list(keep), within))
        return await self.store_work(deadline)

    async def health(self) -> Mapping[str, Any]:
        return {"status": "healthy", "checks": {}}

    async def configuration(self) -> Mapping[str, Any]:
        return {"hash": self.config_hash}

    async def close(self) -> None:
        self.closed = True


@dataclass
class Served:
    """A running server and clients to both of its ports."""

    runtime: ScriptedRuntime
    metrics: RuntimeMetrics
    lifecycle: Lifecycle
    stop: StopSignal
    api: httpx.AsyncClient
    watch: httpx.AsyncClient
    address: tuple[str, int]
    task: asyncio.Task[None]

    async def call(self, arguments: object, *, tool: str = "search_documents", **headers: str) -> httpx.Response:
        return await self.api.post(f"/mcp/tools/{tool}", json=arguments, headers=headers)


def scripted(
    document: str = "name: docs", answer: Answer = answer_at_once, *, environ: Mapping[str, str] | None = None
) -> ScriptedRuntime:
    """A runtime of this document. The file name is what errors would name."""
    source = load_document("workspace.yaml", document)
    workspace = parse_workspace(source.raw, source=source.source, lines=source.lines, environ=environ or {})
    return ScriptedRuntime(workspace, source, answer)


def document(**mcp: Any) -> str:
    """A workspace with these settings under `mcp`."""
    return yaml.safe_dump({"name": "docs", "mcp": mcp})


@asynccontextmanager
async def served(runtime: ScriptedRuntime, *, delay: float = 0.0, timeout: float = 5.0) -> AsyncIterator[Served]:
    """Real uvicorn on free ports of 127.0.0.1, stopped in order at the end."""
    metrics = metrics_for(runtime.workspace)
    identify(metrics, config_hash=runtime.config_hash, embedder=runtime.services.embedder.tag)
    lifecycle, stop, ready = Lifecycle(), StopSignal(), asyncio.Event()
    listeners = Listeners(bind("127.0.0.1", 0, setting="test"), bind("127.0.0.1", 0, setting="test"))
    assert listeners.watch is not None
    api_url, watch_url = (_url(listener) for listener in (listeners.api, listeners.watch))
    address = listeners.api.getsockname()
    applications = create_applications(runtime, metrics, lifecycle)
    draining = Draining(delay, timeout)
    task = asyncio.create_task(
        serve(applications, listeners, lifecycle, stop, draining=draining, on_ready=lambda _: ready.set())
    )
    await asyncio.wait({task, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    async with httpx.AsyncClient(base_url=api_url) as api, httpx.AsyncClient(base_url=watch_url) as watch:
        try:
            yield Served(runtime, metrics, lifecycle, stop, api, watch, address, task)
        finally:
            stop.asked.set()
            await task
            listeners.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"
