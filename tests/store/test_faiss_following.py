"""How a FAISS index follows its collection: what changes here, elsewhere, by hand, or while the database is away."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sibyl_runtime.errors import SibylError
from sibyl_runtime.store.faiss_index import FaissIndex
from sibyl_runtime.store.mirror import LOOK_PAUSE
from tests.store.faiss_stores import exact, faiss, ids, serves
from tests.store.samples import axis, corpus, document, eventually, load, unit_vectors


@pytest.mark.parametrize("index_type", ["Flat", "IVF4,Flat", "HNSW8,Flat"])
async def test_what_this_process_stores_replaces_and_removes_is_so_in_its_next_search(
    database_dsn: str, index_type: str
) -> None:
    async with faiss(database_dsn, index_type, nprobe=4 if "IVF" in index_type else None) as store:
        await load(store, corpus(unit_vectors(300)))
        await serves(store, index_type)
        await store.replace([document("new", [-axis(0)], source="other")])
        assert (await store.search(-axis(0), top_k=1))[0].document_id == "new"
        await store.replace([document("new", [axis(5)], source="other")])
        assert (await store.search(axis(5), top_k=1))[0].document_id == "new"
        assert (await store.search(-axis(0), top_k=1))[0].document_id != "new"
        await store.remove_missing("other", [])
        assert (await store.search(axis(5), top_k=1))[0].document_id != "new"
        assert (await store.index_state()).rows == 300
        assert (await store.index_state()).name == index_type


async def test_what_another_process_changes_is_found_soon_and_only_the_changed_rows_are_read(database_dsn: str) -> None:
    async with faiss(database_dsn) as store, exact(database_dsn) as other:
        await load(other, corpus(unit_vectors(500)))
        await store.prepare_search()
        held = store._mirror._held  # type: ignore[union-attr]

        async def sees(document_id: str, *, wanted: bool) -> bool:
            return ((await store.search(-axis(0), top_k=1))[0].document_id == document_id) is wanted

        started = time.monotonic()
        await other.replace([document("new", [-axis(0)], source="other")])
        await eventually(lambda: sees("new", wanted=True))
        await other.remove_missing("other", [])
        await eventually(lambda: sees("new", wanted=False))
        assert time.monotonic() - started < 2 * LOOK_PAUSE + 3

        async def gone() -> bool:
            return (await store.index_state()).rows == 500

        await eventually(gone)
        assert store._mirror._held is held  # type: ignore[union-attr]


async def test_no_search_knows_less_than_the_version_that_was_told(database_dsn: str) -> None:
    """An answer is filed under the version that `counts` tells: it must not come from an earlier one."""
    async with faiss(database_dsn) as store, exact(database_dsn) as other:
        await load(other, corpus(unit_vectors(200)))
        await store.prepare_search()
        for number in range(10):
            await other.replace([document(f"n{number}", [-axis(number % 8)], source="other")])
            await store.counts()
            assert f"n{number}" in {hit.document_id for hit in await store.search(-axis(number % 8), top_k=2)}


async def test_a_collection_made_anew_is_read_anew(database_dsn: str) -> None:
    async with faiss(database_dsn) as store:
        await load(store, corpus(unit_vectors(100)))
        assert await store.search(axis(0), top_k=1)
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as connection:
            await connection.execute("DROP TABLE documents_chunks, documents_documents CASCADE")
        async with exact(database_dsn) as again:
            await again.replace([document("again", [axis(2), axis(3)])])
            await store.counts()
            assert {hit.document_id for hit in await store.search(axis(2), top_k=5)} == {"again"}
            assert (await store.index_state()).rows == 2


async def test_rows_changed_by_hand_are_followed(database_dsn: str) -> None:
    async with faiss(database_dsn) as store:
        await load(store, corpus(unit_vectors(100)))
        assert len(await store.search(axis(0), top_k=1_000)) == 100
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as connection:
            await connection.execute("DELETE FROM documents_chunks WHERE id % 2 = 0")
            await connection.execute(
                "INSERT INTO documents_chunks (id, document_id, source, ordinal, heading, content, tokens, embedding,"
                " metadata) SELECT -5, document_id, source, 77, '', 'by hand', 1, embedding, metadata"
                " FROM documents_chunks ORDER BY id LIMIT 1"
            )
        await store.ensure_index()
        found = await store.search(axis(0), top_k=1_000)
        assert len(found) == 51
        assert -5 in ids(found)
        assert (await store.index_state()).rows == 51


async def test_a_database_that_was_set_back_is_followed_back(database_dsn: str) -> None:
    async with faiss(database_dsn) as store:
        await store.replace([document("a", [axis(0)])])
        version = (await store.counts()).corpus_version
        assert await store.search(axis(0), top_k=1)
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as connection:
            await connection.execute("UPDATE sibyl_collections SET corpus_version = %s", [version - 100])
        await store.replace([document("b", [axis(1)])])
        async with asyncio.timeout(10):
            assert (await store.search(axis(1), top_k=1))[0].document_id == "b"


async def test_a_graph_with_many_removed_rows_is_made_anew(database_dsn: str) -> None:
    async with faiss(database_dsn, "HNSW8,Flat") as store:
        await load(store, corpus(unit_vectors(400)))
        await serves(store, "HNSW8,Flat")
        held = store._mirror._held  # type: ignore[union-attr]
        await store.remove_missing("source-a", [f"d{number}" for number in range(20)])
        assert len(await store.search(axis(0), top_k=400)) == 200

        async def anew() -> bool:
            return store._mirror._held is not held  # type: ignore[union-attr]

        await eventually(anew)
        assert (await store.index_state()).rows == 200
        assert len(await store.search(axis(0), top_k=400)) == 200


async def test_an_index_with_twice_the_rows_it_was_trained_on_is_trained_anew(database_dsn: str) -> None:
    async with faiss(database_dsn, "IVF4,Flat") as store:
        await load(store, corpus(unit_vectors(200)))
        await serves(store, "IVF4,Flat")
        held = store._mirror._held  # type: ignore[union-attr]
        await load(store, corpus(unit_vectors(500, seed=2)))
        await store.prepare_search()

        async def anew() -> bool:
            return store._mirror._held is not held  # type: ignore[union-attr]

        await eventually(anew)
        assert (await store.index_state()).rows == 500


async def test_an_index_that_took_over_half_of_a_change_is_made_anew(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with faiss(database_dsn) as store:
        await load(store, corpus(unit_vectors(200)))
        await store.prepare_search()
        add, calls = FaissIndex.add, 0

        def fails_once(index: FaissIndex, ids: Any, vectors: Any) -> None:
            nonlocal calls
            calls += 1
            add(index, ids, vectors)
            if calls == 1:
                raise MemoryError

        monkeypatch.setattr(FaissIndex, "add", fails_once)
        await store.replace([document("new", [-axis(0)])])
        assert (await store.search(-axis(0), top_k=1))[0].document_id == "new"
        assert (await store.index_state()).rows == 201


async def test_a_database_that_is_away_is_told_and_followed_again_once_it_is_back(database_dsn: str) -> None:
    async with faiss(database_dsn) as store:
        await load(store, corpus(unit_vectors(100)))
        await store.prepare_search()
        name = conninfo_to_dict(database_dsn)["dbname"]
        async with await psycopg.AsyncConnection.connect(
            make_conninfo(database_dsn, dbname="postgres"), autocommit=True
        ) as administrator:
            await administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            await administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            with pytest.raises(SibylError):
                await store.search(axis(0), top_k=1)
            await administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())

        async def back() -> bool:
            try:
                return len(await store.search(axis(0), top_k=1)) == 1
            except SibylError:
                return False

        await eventually(back)
        async with exact(database_dsn) as other:
            await other.replace([document("new", [-axis(0)], source="other")])

        async def followed() -> bool:
            return (await store.index_state()).rows == 101

        await eventually(followed)
