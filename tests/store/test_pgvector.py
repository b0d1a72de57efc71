from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import psycopg
import pytest

from sibyl_runtime.errors import DatabaseUnavailable, StartupError
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.embedded import running_socket_dsn
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import VectorStore
from tests.store.samples import DIMENSION, TAG, axis, document, eventually, opened, provider
from tests.support.conditions import until


def test_it_is_the_store_that_techniques_expect(store: PgVectorStore) -> None:
    expected: VectorStore = store
    assert expected is store


async def test_without_a_dsn_the_store_brings_its_own_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    children = len(psutil.Process().children())
    for documents in (0, 1):
        store = await open_store(provider(None), dimension=DIMENSION, tag=TAG, embedded_directory=tmp_path / "data")
        assert (await store.counts()).documents == documents
        await store.replace([document("a", [axis(0)])])
        assert (await store.search(axis(0), top_k=1))[0].document_id == "a"
        await store.close()
        assert len(psutil.Process().children()) == children
    assert caplog.text == ""


async def test_a_store_that_cannot_open_stops_the_database_it_started(tmp_path: Path) -> None:
    children = len(psutil.Process().children())
    directory = tmp_path / "data"
    await (await open_store(provider(None), dimension=8, tag=TAG, embedded_directory=directory)).close()
    with pytest.raises(StartupError, match="dimension 16"):
        await open_store(provider(None), dimension=16, tag=TAG, embedded_directory=directory)
    assert len(psutil.Process().children()) == children


async def test_neither_a_dsn_nor_a_directory_is_refused() -> None:
    with pytest.raises(StartupError, match=r"providers\.vector_store\.<name>\.dsn"):
        await open_store(provider(None), dimension=8, tag=TAG, embedded_directory=None)


async def test_the_location_shows_where_and_no_secret(store: PgVectorStore, database_dsn: str) -> None:
    password = database_dsn.split("@")[0].rpartition(":")[2]
    assert store.location.startswith("collection documents in PostgreSQL at host 127.0.0.1")
    assert password not in store.location


async def test_stats_join_pool_and_searches(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    await store.search(axis(0), top_k=1)
    stats = store.stats()
    assert stats["searches_exact"] == 1
    assert stats["searches_approximate"] == stats["short_results"] == 0
    assert stats["pool_available"] == stats["pool_size"]
    assert stats["requests_num"] >= 2


async def test_check_passes_while_the_store_answers(store: PgVectorStore) -> None:
    await store.check()


async def test_a_busy_pool_passes_the_check(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sibyl_runtime.store.pgvector._CHECK_TIMEOUT", 0.4)
    store = await opened(database_dsn, max_overflow=0)
    release = asyncio.Event()

    async def hold(_: Connection) -> None:
        await release.wait()

    holder = asyncio.create_task(store._database.run(hold, stage="test"))

    async def held() -> bool:
        return store.stats()["pool_available"] == 0

    await eventually(held)
    await store.check()
    release.set()
    await holder
    await store.close()


async def test_a_server_that_does_not_answer_fails_the_check(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sibyl_runtime.store.pgvector._CHECK_TIMEOUT", 0.2)
    store = await opened(database_dsn)
    async with await psycopg.AsyncConnection.connect(database_dsn) as blocker:
        await blocker.execute("LOCK TABLE sibyl_collections IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable, match=r"did not answer within 0\.2 s"):
            await store.check()
    await store.check()
    await store.close()


async def test_a_closed_store_says_so(database_dsn: str) -> None:
    store = await opened(database_dsn)
    await store.close()
    await store.close()
    with pytest.raises(DatabaseUnavailable):
        await store.search(axis(0), top_k=1)


async def test_cancelled_searches_give_their_connections_back(store: PgVectorStore) -> None:
    await store.replace([document(str(n), [axis(n % 8)]) for n in range(100)])
    for _ in range(10):
        searches = [asyncio.create_task(store.search(axis(0), top_k=5, timeout=5)) for _ in range(20)]
        await asyncio.wait(searches, timeout=0.005)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
    stats = store.stats()
    assert stats["pool_available"] == stats["pool_size"]
    assert len(await store.search(axis(0), top_k=5)) == 5


async def test_the_store_knows_what_it_runs_on(store: PgVectorStore) -> None:
    versions = await store.versions()
    assert versions["postgresql"].split(".")[0] == "18"
    assert versions["pgvector"].startswith("0.8.")
    assert not store.embedded


async def test_a_start_that_is_cancelled_leaves_no_server_behind(tmp_path: Path) -> None:
    opening = asyncio.ensure_future(
        open_store(provider(None), dimension=DIMENSION, tag=TAG, embedded_directory=tmp_path / "data")
    )
    await until(lambda: (tmp_path / "data" / "lock").exists())
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not list((tmp_path / "data").glob("cluster-*/postmaster.pid"))
    assert running_socket_dsn(tmp_path / "data") is None
