"""A workspace whose vectors come from a server: opened, fed, asked, and told apart from one with another model."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.kpi import EmbeddingCollector
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.providers.embedding.remote import RemoteEmbedder
from sibyl_runtime.runtime import Runtime, Settings
from sibyl_runtime.server.description import describe
from sibyl_runtime.workspace import SourceDocument
from tests.support.openai_server import OpenAIServer
from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server

NEVER = Deadline.after(None)


async def opened(server: OpenAIServer, dsn: str, directory: Path, **embedding: Any) -> Runtime:
    remote = {"kind": "openai", "model": "text-embedding-3-small", "base_url": server.url, **embedding}
    written = {
        "name": "remote",
        "providers": {
            "embedding": {"main": remote},
            "vector_store": {"main": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}},
        },
        "shops": {"rag": {"techniques": {"embedding": {"batch_size": 2, "max_concurrent": 2}}}},
    }
    source = SourceDocument("workspace.yaml", written, {}, None)
    return await Runtime.open(source, {"DATABASE_URL": dsn}, Settings(directory / "data"))


async def test_documents_and_questions_are_embedded_by_the_server(
    openai_server: OpenAIServer, database_dsn: str, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(5):
        (corpus / f"{number}.txt").write_text(f"text number {number}")
    async with aclosing(_Closing(await opened(openai_server, database_dsn, tmp_path, dimensions=16))) as held:
        runtime = held.runtime
        report = await runtime.ingest(str(corpus))
        assert (report.documents, report.chunks) == (5, 5)
        outcome = await runtime.call_tool("search_documents", {"query": "text number 3"}, deadline=NEVER)
        assert {source["document"] for source in outcome.output["sources"]} == {f"{number}.txt" for number in range(5)}
        assert openai_server.received[-1].body == {
            "input": ["text number 3"], "model": "text-embedding-3-small", "encoding_format": "float", "dimensions": 16,
        }  # fmt: skip
        host = openai_server.url.split("/")[2]
        _, embedder, _ = await describe(runtime.services)
        assert embedder == f"text-embedding-3-small at {host}"
        assert isinstance(runtime.services.embedder, RemoteEmbedder)
        registry = CollectorRegistry()
        registry.register(EmbeddingCollector(runtime.services.embedder.stats))
        shown = generate_latest(registry).decode()
        assert "sibyl_embed_tokens_total 21.0" in shown
        assert "sibyl_embed_cost_usd_total" in shown
    sizes = sorted(len(request.body["input"]) for request in openai_server.received)
    assert sizes == [1, 1, 1, 2, 2]


async def test_a_collection_of_another_length_is_refused(
    openai_server: OpenAIServer, database_dsn: str, tmp_path: Path
) -> None:
    await (await opened(openai_server, database_dsn, tmp_path, dimensions=16)).close()
    with pytest.raises(StartupError, match="text-embedding-3-small@"):
        await opened(openai_server, database_dsn, tmp_path, dimensions=8)


class _Closing:
    """A runtime as `aclosing` wants it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def aclose(self) -> None:
        await self.runtime.close()
