"""The whole data plane in one process: opened from a document, asked, fed, watched and closed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sibyl_runtime import __version__
from sibyl_runtime.cache.disk import FILE_NAME
from sibyl_runtime.errors import DatabaseUnavailable, IngestError, InvalidParameters, NotFound, StartupError
from sibyl_runtime.parts import Parts
from sibyl_runtime.pipeline.context import Deadline, IngestProgress, Services
from sibyl_runtime.runtime import IngestReport, Runtime, Settings
from sibyl_runtime.workspace import SourceDocument, WorkspaceInvalid, effective_hash
from tests.store.samples import eventually
from tests.support.parts import WatchedEmbedder
from tests.support.postgres import PostgresServer
from tests.support.redis_server import redis_server as redis_server
from tests.support.redis_server import redis_url as redis_url

NEVER = Deadline.after(None)
STORE = {"providers": {"vector_store": {"default": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}}}}
Opener = Callable[..., Coroutine[Any, Any, Runtime]]


def document(**parts: Any) -> SourceDocument:
    return SourceDocument("workspace.yaml", {"name": "test", **STORE, **parts}, {}, None)


def caching(**levels: Any) -> dict[str, Any]:
    return {"infrastructure": {"config": {"caching": {"enabled": True, **levels}}}}


@pytest.fixture
async def opened(database_dsn: str, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens runtimes over the test's database; they are closed at the end."""
    async with AsyncExitStack() as stack:

        async def opener(source: SourceDocument | None = None, **environ: str) -> Runtime:
            runtime = await Runtime.open(
                source or document(), {"DATABASE_URL": database_dsn, **environ}, Settings(tmp_path / "data")
            )
            stack.push_async_callback(runtime.close)
            return runtime

        yield opener


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    directory = tmp_path / "corpus"
    directory.mkdir()
    (directory / "pools.md").write_text("# Pools\n\nConnection pools bound the number of database connections.")
    (directory / "caches.md").write_text("# Caches\n\nA cache keeps answers so that a question costs nothing twice.")
    return directory


async def ask(
    runtime: Runtime, query: str = "What bounds database connections?", **arguments: Any
) -> Mapping[str, Any]:
    outcome = await runtime.call_tool("search_documents", {"query": query, **arguments}, deadline=NEVER)
    return {"cache": outcome.cache, **outcome.output}


async def test_a_document_becomes_answers_with_sources(opened: Opener, corpus: Path) -> None:
    runtime = await opened()
    seen: list[IngestProgress] = []
    report = await runtime.ingest(str(corpus), progress=seen.append)
    assert report == IngestReport(2, 2, 0, 0, 0, report.seconds, [])
    assert seen[-1].documents == 2
    outcome = await runtime.call_tool("search_documents", {"query": "What bounds connections?"}, deadline=NEVER)
    assert "pools bound the number of database connections" in outcome.output["answer"]
    assert outcome.output["sources"][0]["document"] == "pools.md"
    assert (outcome.cache, outcome.cost_usd) == ("off", 0.0)
    assert [timing.stage for timing in outcome.stages] == ["embed", "retrieve", "generate"]
    assert runtime.config_hash == effective_hash(document().raw)
    assert any("/int8/" in part or "/fp32/" in part for part in runtime.description)
    assert not any("postgresql://" in part for part in runtime.description)


async def test_an_ingest_reports_what_changed_and_what_was_left_out(opened: Opener, corpus: Path) -> None:
    runtime = await opened()
    await runtime.ingest(str(corpus))
    (corpus / "pools.md").write_text("# Pools\n\nNew text.")
    (corpus / "caches.md").unlink()
    (corpus / "image.png").write_bytes(b"\x89PNG\0")
    (corpus / "new.txt").write_text("More text.")
    report = await runtime.ingest(str(corpus))
    assert (report.documents, report.replaced, report.unchanged, report.removed) == (2, 1, 0, 1)
    assert [skipped.path for skipped in report.skipped] == ["image.png"]
    assert "binary" in report.skipped[0].reason


async def test_an_ingest_of_a_pipeline_that_is_not_one_says_so(opened: Opener) -> None:
    runtime = await opened()
    with pytest.raises(NotFound, match="there is no pipeline `ingets`; known: ingest, search"):
        await runtime.ingest(None, pipeline="ingets")
    with pytest.raises(InvalidParameters, match="path: unknown parameter"):
        await runtime.ingest("/docs", pipeline="search")
    with pytest.raises(IngestError, match="no path to ingest"):
        await runtime.ingest(None)


async def test_an_unknown_tool_and_all_wrong_arguments_are_named(opened: Opener) -> None:
    runtime = await opened()
    with pytest.raises(NotFound, match="there is no tool `search`; known: search_documents"):
        await runtime.call_tool("search", {}, deadline=NEVER)
    with pytest.raises(InvalidParameters) as caught:
        await runtime.call_tool("search_documents", {"top_k": 0, "colour": "red"}, deadline=NEVER)
    assert sorted(problem["parameter"] for problem in caught.value.details["problems"]) == ["colour", "query", "top_k"]


async def test_an_answer_is_kept_until_the_corpus_changes(opened: Opener, corpus: Path) -> None:
    runtime = await opened(document(shops=caching()))
    await runtime.ingest(str(corpus))
    assert (await ask(runtime))["cache"] == "miss"
    kept = await ask(runtime, "  What bounds database connections? ")
    assert kept["cache"] == "hit"
    assert "bound the number" in kept["answer"]
    assert (await ask(runtime, top_k=1))["cache"] == "miss", "another argument is another question"
    await runtime.ingest(str(corpus))
    assert (await ask(runtime))["cache"] == "hit", "nothing had changed"
    (corpus / "pools.md").write_text("# Pools\n\nA semaphore bounds database connections now.")
    await runtime.ingest(str(corpus))
    fresh = await ask(runtime)
    assert fresh["cache"] == "miss"
    assert "semaphore" in fresh["answer"]


async def test_the_health_tells_of_the_disk_level_and_what_is_wrong_with_it(
    opened: Opener, corpus: Path, tmp_path: Path
) -> None:
    runtime = await opened(document(shops=caching(disk={"path": str(tmp_path / "kept"), "max_size_gb": 0.02})))
    await runtime.ingest(str(corpus))
    assert (await ask(runtime))["cache"] == "miss"
    parts = Parts(runtime.services, runtime.caches)
    told = await parts.cache()
    assert told["answer"]["disk"]["entries"] == 1
    assert 0 < told["disk_file"]["size_bytes"] < told["disk_file"]["max_size_bytes"] == 20_000_000
    assert "status" not in told
    with sqlite3.connect(tmp_path / "kept" / FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await ask(runtime, "What bounds pools?"))["cache"] == "miss"
    other.close()
    told = await parts.cache()
    assert told["status"] == "unhealthy"
    assert told["error"] == "the cache on disk is not in full use: database is locked"
    assert (await ask(runtime))["cache"] == "hit"


async def test_a_question_that_finds_nothing_is_asked_anew(opened: Opener, corpus: Path) -> None:
    runtime = await opened(document(shops=caching()))
    for _ in range(2):
        found = await ask(runtime)
        assert (found["cache"], found["sources"]) == ("miss", [])
        assert "Nothing in the documents" in found["answer"]


async def test_two_processes_share_a_redis_and_two_databases_do_not_mix(
    opened: Opener, corpus: Path, redis_url: str, postgres_server: PostgresServer
) -> None:
    source = document(shops=caching(backend="redis", redis={"url": "${REDIS_URL}"}))
    one = await opened(source, REDIS_URL=redis_url)
    await one.ingest(str(corpus))
    assert (await ask(one))["cache"] == "miss"
    two = await opened(source, REDIS_URL=redis_url)
    assert (await ask(two))["cache"] == "hit"
    other_dsn = postgres_server.create_database()
    try:
        stranger = await Runtime.open(source, {"DATABASE_URL": other_dsn, "REDIS_URL": redis_url}, Settings())
        try:
            (corpus / "pools.md").write_text("# Pools\n\nHere a semaphore bounds database connections.")
            await stranger.ingest(str(corpus))
            found = await ask(stranger)
        finally:
            await stranger.close()
    finally:
        postgres_server.drop_database(other_dsn)
    assert found["cache"] == "miss"
    assert "semaphore" in found["answer"]


async def test_health_asks_every_part(opened: Opener, corpus: Path) -> None:
    runtime = await opened(document(shops=caching()))
    await runtime.ingest(str(corpus))
    health = await runtime.health()
    assert (health["status"], health["version"]) == ("healthy", __version__)
    assert list(health["checks"]) == ["database", "vector_store", "llm_provider", "cache"]
    assert {check["status"] for check in health["checks"].values()} == {"healthy"}
    assert health["checks"]["vector_store"]["details"]["documents"] == 2
    assert health["checks"]["llm_provider"]["details"] == {"provider": "default", "kind": "extractive"}
    assert health["checks"]["cache"]["details"]["answer"]["memory"]["hits"] == 0


async def test_health_names_the_part_that_is_away(opened: Opener) -> None:
    runtime = await opened(
        document(shops=caching(backend="redis", redis={"url": "redis://127.0.0.1:1/0"})),
    )
    await runtime.services.store.close()
    health = await runtime.health()
    assert health["status"] == "degraded"
    assert health["checks"]["database"]["status"] == "unhealthy"
    assert health["checks"]["cache"]["details"]["code"] == "cache_unavailable"
    assert health["checks"]["llm_provider"]["status"] == "healthy"


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON documents_documents EXECUTE FUNCTION refuse()
"""


async def test_health_shows_a_refused_write_until_one_succeeds(opened: Opener, corpus: Path, database_dsn: str) -> None:
    runtime = await opened()
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as link:
        await link.execute(REFUSE)
        with pytest.raises(DatabaseUnavailable, match=r"the volume of the database is full"):
            await runtime.ingest(str(corpus))
        found = (await runtime.health())["checks"]["database"]
        assert found["status"] == "unhealthy"
        assert found["details"]["last_failed_write"]["sqlstate"] == "53100"
        assert "is full" in found["details"]["error"]
        await link.execute("DROP TRIGGER no_room ON documents_documents")
    await runtime.ingest(str(corpus))

    async def well() -> bool:
        # A result is kept for a second.
        return bool((await runtime.health())["checks"]["database"]["status"] == "healthy")

    await eventually(well)


async def test_health_says_when_the_cache_is_off(opened: Opener) -> None:
    health = await (await opened()).health()
    assert health["checks"]["cache"] == {"status": "disabled", "latency_ms": pytest.approx(0, abs=50), "details": {}}
    assert health["status"] == "healthy"


async def test_a_document_that_is_wrong_is_refused_before_anything_opens(database_dsn: str) -> None:
    before = embedding_threads()
    with pytest.raises(WorkspaceInvalid, match="DATABASE_URL"):
        await Runtime.open(document(), {}, Settings())
    assert embedding_threads() == before


async def test_a_part_that_cannot_open_closes_those_that_could(opened: Opener) -> None:
    before = embedding_threads()
    with pytest.raises(StartupError):
        await Runtime.open(document(), {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, Settings())
    assert embedding_threads() == before


async def test_another_model_over_the_same_collection_is_refused(opened: Opener) -> None:
    await opened(document())
    providers = {**STORE["providers"], "embedding": {"default": {"kind": "sentence-transformer", "max_seq_length": 64}}}
    with pytest.raises(StartupError, match="/64"):
        await opened(document(providers=providers))


async def test_closing_ends_everything_and_may_be_done_twice(opened: Opener) -> None:
    before = embedding_threads()
    runtime = await opened()
    assert embedding_threads() == before + 1
    await runtime.close()
    await runtime.close()
    assert embedding_threads() == before


async def test_an_instrument_stands_before_the_services(database_dsn: str) -> None:
    watched: list[WatchedEmbedder] = []

    def instrument(services: Services) -> Services:
        watched.append(WatchedEmbedder(services.embedder))
        return replace(services, embedder=watched[0])

    runtime = await Runtime.open(document(), {"DATABASE_URL": database_dsn}, Settings(), instrument=instrument)
    try:
        await ask(runtime, "counted?")
    finally:
        await runtime.close()
    assert watched[0].queries == ["counted?"]


async def test_without_a_database_an_embedded_one_runs_and_keeps_its_data(tmp_path: Path, corpus: Path) -> None:
    source = SourceDocument("workspace.yaml", {"name": "laptop"}, {}, None)
    settings = Settings(tmp_path / "data")
    runtime = await Runtime.open(source, {}, settings)
    try:
        await runtime.ingest(str(corpus))
    finally:
        await runtime.close()
    runtime = await Runtime.open(source, {}, settings)
    try:
        assert (await ask(runtime))["sources"][0]["document"] == "pools.md"
        assert (await runtime.ingest(str(corpus))).unchanged == 2
    finally:
        await runtime.close()


def embedding_threads() -> int:
    """Worker threads of embedding models that are running, those of the session's fixtures included."""
    return sum(thread.name == "sibyl-embedding" for thread in threading.enumerate())
