"""Opens a block of the guide as a workspace that works: what it leaves out is added, nothing of it is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.pipeline.context import Deadline, Services
from sibyl_runtime.runtime import Runtime, Settings
from sibyl_runtime.server.instrumentation import metered, metrics_for
from sibyl_runtime.workspace import SourceDocument, parse_workspace
from tests.guide.serving import Served, serving
from tests.support.openai_server import OpenAIServer
from tests.support.parts import WatchedEmbedder, WatchedStore
from tests.workspace.test_guide import GUIDE, document_of, merged, variants, yaml_blocks

NEVER = Deadline.after(None)
TOOL = "ask"
ASKED = ("rag.retrieval", "ai_generation.generation")
with_guide = pytest.mark.skipif(not GUIDE.exists(), reason=f"the guide is not at {GUIDE}")


def text_of(line: int) -> str:
    """The block that begins at `line` of the guide, as it is written there."""
    return dict(yaml_blocks())[line]


def block(line: int, part: int = 0) -> Mapping[str, Any]:
    """The block at `line`; `part` 1 or 2 of one that has two halves."""
    parts = variants(text_of(line))
    assert len(parts) == (2 if part else 1)
    return parts[max(part - 1, 0)]


def answers(pipeline: Mapping[str, Any] | None) -> bool:
    """Whether it takes a question; None is the pipeline `search` that every workspace has."""
    return pipeline is None or any(step["use"] in ASKED for step in pipeline["steps"])


@dataclass(frozen=True)
class Place:
    """A fresh database, a directory and a language model's server, in which blocks are run."""

    dsn: str
    directory: Path
    llm: OpenAIServer

    def document(self, written: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The block with a database, the address of the model's server and a tool that asks its pipeline."""
        raw = merged(document_of(written), more)
        for model in raw["providers"]["llm"].values():
            for name, value in {"base_url": self.llm.url, "api_key": "k", "max_retries": 0}.items():
                model.setdefault(name, value)
        stores = raw["providers"].setdefault("vector_store", {"default": {"kind": "pgvector"}})
        for store in stores.values():
            if isinstance(store, dict):
                store.setdefault("dsn", "${DATABASE_URL}")
        asked = next((name for name, steps in raw.get("pipelines", {"search": None}).items() if answers(steps)), None)
        parameters = {"query": {"type": "string", "required": True}}
        tool = {"name": TOOL, "description": "Ask.", "pipeline": asked, "parameters": parameters}
        return merged({"name": "guide", **({"mcp": {"tools": [tool]}} if asked else {})}, raw)

    def write(self, texts: Mapping[str, str]) -> str:
        """A folder of these files."""
        folder = self.directory / "corpus"
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
        return str(folder)

    @asynccontextmanager
    async def opened(
        self, raw: Mapping[str, Any], *, instrument: Callable[[Services], Services] = lambda same: same, **environ: str
    ) -> AsyncIterator[Runtime]:
        """The runtime over this document."""
        source = SourceDocument("workspace.yaml", dict(raw), {}, None)
        settings = Settings(self.directory / "data")
        runtime = await Runtime.open(source, {"DATABASE_URL": self.dsn, **environ}, settings, instrument=instrument)
        try:
            yield runtime
        finally:
            await runtime.close()

    @asynccontextmanager
    async def served(self, raw: Mapping[str, Any], texts: Mapping[str, str]) -> AsyncIterator[Served]:
        """The whole API over real sockets, with these documents ingested."""
        metrics = metrics_for(parse_workspace(raw, environ={"DATABASE_URL": self.dsn}))
        async with self.opened(raw, instrument=lambda services: metered(services, metrics)) as runtime:
            await runtime.ingest(self.write(texts))
            async with serving(runtime, metrics) as served:
                yield served


@dataclass
class Watch:
    """Counts what the parts are given; hand `on` to `opened` as `instrument`."""

    embedder: WatchedEmbedder | None = None
    store: WatchedStore | None = None

    def on(self, services: Services) -> Services:
        """The same services, watched."""
        self.embedder, self.store = WatchedEmbedder(services.embedder), WatchedStore(services.store)
        return replace(services, embedder=self.embedder, store=self.store)

    @property
    def seen(self) -> tuple[WatchedEmbedder, WatchedStore]:
        """Both, once the runtime is open."""
        assert self.embedder is not None
        assert self.store is not None
        return self.embedder, self.store


async def ask(runtime: Runtime, query: str) -> ToolOutcome:
    """Call the tool."""
    return await runtime.call_tool(TOOL, {"query": query}, deadline=NEVER)


def found(outcome: ToolOutcome) -> list[str]:
    """The documents of the answer's sources, best first."""
    return [source["document"] for source in outcome.output["sources"]]
