"""The parts of a runtime for tests: the real model and store, wrapped where a test counts calls or breaks something.

In a conftest: `from tests.support.parts import embedder as embedder, parts as parts` beside the PostgreSQL fixtures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from sibyl_runtime.pipeline.asking import Ask
from sibyl_runtime.pipeline.context import Deadline, Services
from sibyl_runtime.pipeline.engine import PipelineEngine
from sibyl_runtime.pipeline.kept import NOTHING_KEPT, Kept
from sibyl_runtime.pipeline.ledger import IngestLedger, Progress
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.providers.embedding import LocalEmbedder, open_embedder
from sibyl_runtime.providers.llm import open_language_model
from sibyl_runtime.providers.protocols import (
    BulkSettings,
    Embedder,
    EmbedDocuments,
    Generation,
    GenerationRequest,
    LanguageModel,
    Token,
    Vectors,
)
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import (
    EVERY_ID,
    NEAREST,
    EmbeddedDocument,
    Filters,
    Hit,
    IdRange,
    Ranking,
    StoreCounts,
    VectorStore,
)
from sibyl_runtime.workspace import EmbeddingProvider, VectorStoreProvider, Workspace, parse_workspace

Hook = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """The hook that does not interfere."""


@dataclass
class WatchedEmbedder:
    """A real embedder that counts the texts it is given, with a hook before each call."""

    inner: Embedder
    documents: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    bulks: list[BulkSettings] = field(default_factory=list)
    before: Hook = nothing
    tag_suffix: str = ""
    limit: int | None = None

    @property
    def tag(self) -> str:
        return self.inner.tag + self.tag_suffix

    @property
    def dimension(self) -> int:
        return self.inner.dimension

    @property
    def max_tokens(self) -> int:
        return self.limit or self.inner.max_tokens

    def tokenize(self, text: str) -> list[Token]:
        return self.inner.tokenize(text)

    async def embed_query(self, text: str) -> Vectors:
        await self.before()
        self.queries.append(text)
        return await self.inner.embed_query(text)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        await self.before()
        self.documents.extend(texts)
        self.calls.append(len(texts))
        return await self.inner.embed_documents(texts)

    @asynccontextmanager
    async def bulk(self, settings: BulkSettings) -> AsyncIterator[EmbedDocuments]:
        self.bulks.append(settings)
        async with self.inner.bulk(settings) as embed:

            async def watched(texts: Sequence[str]) -> Vectors:
                await self.before()
                self.documents.extend(texts)
                self.calls.append(len(texts))
                return await embed(texts)

            yield watched

    async def close(self) -> None:
        """The real one belongs to the session."""


@dataclass
class WatchedStore:
    """A real store with a hook before each call that reads or writes."""

    inner: VectorStore
    before: Hook = nothing
    replaced: list[list[str]] = field(default_factory=list)
    removals: list[tuple[str, list[str]]] = field(default_factory=list)
    indexed: int = 0
    searches: list[Mapping[str, Any]] = field(default_factory=list)

    async def fingerprints(self, document_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        await self.before()
        return await self.inner.fingerprints(document_ids)

    async def replace(self, documents: Sequence[EmbeddedDocument]) -> int:
        await self.before()
        written = await self.inner.replace(documents)
        self.replaced.append([document.document.id for document in documents])
        return written

    async def remove_missing(self, source: str, present: Sequence[str], within: IdRange = EVERY_ID) -> int:
        await self.before()
        self.removals.append((source, list(present)))
        return await self.inner.remove_missing(source, present, within)

    async def sources(self) -> dict[str, int]:
        await self.before()
        return await self.inner.sources()

    async def search(
        self,
        vector: Vectors,
        *,
        top_k: int,
        ranking: Ranking = NEAREST,
        threshold: float | None = None,
        filters: Filters | None = None,
        timeout: float | None = None,
    ) -> list[Hit]:
        await self.before()
        self.searches.append(
            {"top_k": top_k, "ranking": ranking, "threshold": threshold, "filters": filters, "timeout": timeout}
        )
        return await self.inner.search(
            vector, top_k=top_k, ranking=ranking, threshold=threshold, filters=filters, timeout=timeout
        )

    async def ensure_index(self) -> None:
        await self.before()
        self.indexed += 1
        await self.inner.ensure_index()

    async def counts(self) -> StoreCounts:
        await self.before()
        return await self.inner.counts()

    async def check(self) -> None:
        await self.before()
        await self.inner.check()

    def remarks(self) -> Mapping[str, Any]:
        return self.inner.remarks()

    async def close(self) -> None:
        await self.inner.close()


@dataclass
class ScriptedModel:
    """A language model that answers, fails or waits as told: what a real one does not do on demand."""

    name: str = "default"
    answer: Generation | Exception = field(
        default_factory=lambda: Generation("It does [1].", "scripted", 7, 5, "stop", (0,))
    )
    requests: list[GenerationRequest] = field(default_factory=list)
    before: Hook = nothing

    async def generate(self, request: GenerationRequest) -> Generation:
        self.requests.append(request)
        await self.before()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        """The answer in parts of three characters."""
        generation = await self.generate(request)
        for start in range(0, len(generation.text), 3):
            yield generation.text[start : start + 3]
        yield generation

    async def check(self) -> None:
        await self.before()
        if isinstance(self.answer, Exception):
            raise self.answer

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Parts:
    """One workspace over a fresh database."""

    embedder: WatchedEmbedder
    store: WatchedStore
    dsn: str
    document: dict[str, Any] = field(default_factory=dict)
    models: dict[str, LanguageModel] = field(default_factory=dict)
    kept: Kept = NOTHING_KEPT

    @property
    def workspace(self) -> Workspace:
        """The workspace of `document`."""
        return parse_workspace(self.document, environ={})

    def services(self) -> Services:
        """The parts as a pipeline sees them."""
        workspace = self.workspace
        name, provider = workspace.default_llm
        models = {name: open_language_model(name, provider), **self.models}
        return Services(workspace, self.embedder, self.store, models, name, kept=self.kept)

    async def run(
        self,
        pipeline: str,
        *,
        deadline: Deadline | None = None,
        progress: Progress | None = None,
        ask: Ask | None = None,
        **parameters: object,
    ) -> PipelineResult:
        """Run a pipeline of the workspace."""
        engine = PipelineEngine(self.services())
        end = deadline or Deadline.after(None)
        return await engine.run(pipeline, parameters, deadline=end, progress=progress, ask=ask)

    async def ingest(self, path: object, **settings: Any) -> IngestLedger:
        """Run the pipeline `ingest` over a path; what it saw."""
        result = await self.run("ingest", path=str(path), **settings)
        (ledger,) = result.ledgers
        return ledger

    async def search(self, query: str, **parameters: Any) -> list[Hit]:
        """The chunks that the pipeline `search` retrieves."""
        result = await self.run("search", query=query, **parameters)
        hits: list[Hit] = result.results["retrieval"]["chunks"]
        return hits

    async def stored(self) -> StoreCounts:
        """What the database holds."""
        return await self.store.inner.counts()

    async def documents(self, *ids: str) -> dict[str, dict[str, str]]:
        """The stored fingerprints of these documents, by source."""
        return await self.store.inner.fingerprints(ids)


@pytest.fixture(scope="session")
def embedder() -> Iterator[LocalEmbedder]:
    """The real default model. Its worker serves any event loop."""
    opened = asyncio.run(open_embedder("default", EmbeddingProvider()))
    yield opened
    asyncio.run(opened.close())


@pytest.fixture
async def parts(embedder: LocalEmbedder, database_dsn: str) -> AsyncIterator[Parts]:
    """A runtime's parts over the real model and a fresh database of the real PostgreSQL."""
    store = await open_parts_store(embedder, database_dsn)
    yield Parts(WatchedEmbedder(embedder), WatchedStore(store), database_dsn)
    await store.close()


async def open_parts_store(embedder: Embedder, dsn: str, **settings: Any) -> PgVectorStore:
    """The collection of `parts` in another connection pool."""
    return await open_store(
        VectorStoreProvider(dsn=dsn, **settings),
        dimension=embedder.dimension,
        tag=embedder.tag,
        embedded_directory=None,
    )
