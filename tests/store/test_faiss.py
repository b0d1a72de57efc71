"""Searching in a FAISS index over a real collection: what is found, and how soon it follows what changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sibyl_runtime.errors import SibylError
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.faiss_index import FaissIndex
from sibyl_runtime.store.mirror import LOOK_PAUSE
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Hit, Ranking
from tests.store.samples import axis, corpus, document, eventually, load, opened, unit_vectors

METRICS = ("cosine", "euclidean", "dot_product")


@asynccontextmanager
async def faiss(dsn: str, index_type: str = "Flat", **settings: Any) -> AsyncIterator[PgVectorStore]:
    store = await opened(dsn, kind="faiss", index_type=index_type, **settings)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def exact(dsn: str, **settings: Any) -> AsyncIterator[PgVectorStore]:
    store = await opened(dsn, index_type="none", **settings)
    try:
        yield store
    finally:
        await store.close()


def ids(hits: Sequence[Hit]) -> list[int]:
    return [hit.chunk_id for hit in hits]


async def serves(store: PgVectorStore, factory: str) -> None:
    """Wait until the index that was asked for has taken its place."""

    async def there() -> bool:
        return (await store.index_state()).name == factory

    await store.prepare_search()
    await eventually(there)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("index_type", ["Flat", "SQfp16", "SQ8"])
async def test_an_exhaustive_index_finds_what_a_scan_finds(database_dsn: str, metric: str, index_type: str) -> None:
    vectors = unit_vectors(600) * np.linspace(0.5, 2.0, 600, dtype=np.float32)[:, None]
    async with (
        faiss(database_dsn, index_type, distance_metric=metric) as store,
        exact(database_dsn, distance_metric=metric) as scan,
    ):
        await load(store, corpus(vectors))
        await serves(store, index_type)
        for question in unit_vectors(20, seed=7):
            found = await store.search(question, top_k=10)
            assert found == await scan.search(question, top_k=10)
        assert store.stats()["searches_approximate"] == 20
        assert store.stats()["short_results"] == 0


@pytest.mark.parametrize("index_type", ["HNSW16", "IVF8,Flat", "IVF8,SQ8"])
async def test_the_index_that_was_asked_for_finds_nearly_all(database_dsn: str, index_type: str) -> None:
    factory = "HNSW16,Flat" if index_type == "HNSW16" else index_type
    async with faiss(database_dsn, index_type) as store, exact(database_dsn) as scan:
        await load(store, corpus(unit_vectors(1_000)))
        await serves(store, factory)
        questions = unit_vectors(20, seed=7)
        found = [set(ids(await store.search(question, top_k=10))) for question in questions]
        wanted = [set(ids(await scan.search(question, top_k=10))) for question in questions]
    recall = np.mean([len(a & b) / 10 for a, b in zip(found, wanted, strict=True)])
    assert recall >= 0.8


async def test_an_empty_collection_has_no_hits_and_more_than_there_are_can_be_asked_for(database_dsn: str) -> None:
    async with faiss(database_dsn, "IVF256,Flat", nprobe=10) as store:
        assert await store.search(axis(0), top_k=5) == []
        await store.replace([document("a", [axis(0), axis(1)])])
        assert len(await store.search(axis(0), top_k=1_000)) == 2
        assert await store.remove_missing("source-a", []) == 1
        assert await store.search(axis(0), top_k=5) == []


async def test_without_enough_to_train_on_every_vector_is_compared_and_it_says_so(
    database_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with faiss(database_dsn, "IVF4,Flat", nprobe=2) as store:
        await load(store, corpus(unit_vectors(100)))
        await store.prepare_search()
        state = await store.index_state()
        assert (state.kind, state.name, state.rows, dict(state.parameters)) == ("faiss", "Flat", 100, {})
        assert state.remark == "IVF4,Flat is trained on 156 chunks at least, and there are 100"
        assert store.stats()["faiss_standing_in"] == 1
        await store.replace([document("more", unit_vectors(60, seed=3))])
        await serves(store, "IVF4,Flat")
        state = await store.index_state()
        assert (state.rows, dict(state.parameters), state.remark) == (160, {"cells": 4, "nprobe": 2}, "")
        assert store.stats()["faiss_standing_in"] == 0
        assert store.stats()["faiss_bytes"] == state.size_bytes == 160 * (4 * 8 + 8) + 4 * 8 * 4
        assert "Flat stands in: IVF4,Flat is trained on 156 chunks at least" in caplog.text
        assert "made the FAISS index IVF4,Flat of collection documents over 160 chunks" in caplog.text


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


async def test_hybrid_search_embeddings_and_thresholds_work_as_in_the_database(database_dsn: str) -> None:
    async with faiss(database_dsn) as store, exact(database_dsn) as scan:
        await load(store, corpus(unit_vectors(300)))
        await store.ensure_index()
        ranking = Ranking("hybrid", "text 7", embeddings=True)
        for question in unit_vectors(5, seed=4):
            for threshold in (None, 0.5):
                found = await store.search(question, top_k=8, ranking=ranking, threshold=threshold)
                assert found == await scan.search(question, top_k=8, ranking=ranking, threshold=threshold)
                assert all(hit.embedding is not None for hit in found)
                nearest = await store.search(question, top_k=8, threshold=threshold)
                assert nearest == await scan.search(question, top_k=8, threshold=threshold)


async def test_a_collection_of_the_database_can_be_searched_by_either(database_dsn: str) -> None:
    async with indexed_there(database_dsn) as vectors:
        async with faiss(database_dsn) as store:
            await store.ensure_index()
            assert (await store.search(vectors[3], top_k=1))[0].score == pytest.approx(1.0, abs=1e-3)
        async with await psycopg.AsyncConnection.connect(database_dsn) as connection:
            cursor = await connection.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%USING hnsw%'")
            assert await cursor.fetchone() == (0,), "an index that nothing searches costs every load"


@asynccontextmanager
async def indexed_there(dsn: str) -> AsyncIterator[Vectors]:
    """A collection with an HNSW index of PostgreSQL's."""
    vectors = unit_vectors(200)
    store = await opened(dsn, index_type="hnsw")
    try:
        await load(store, corpus(vectors))
        await store.ensure_index()
        assert (await store.index_state()).kind == "hnsw"
    finally:
        await store.close()
    yield vectors


BROAD = 12_000
"""Enough rows for a filter that matches too many to be looked at one by one."""
DEFINED = {
    "tenant": st.integers(0, 5).map(lambda number: {"tenant": f"t{number}"}),
    "group": st.integers(0, 3).map(lambda number: {"group": {"gte": number}}),
    "half": st.sampled_from([{"half": "odd"}, {"half": {"ne": "odd"}}, {"half": {"in": ["odd", "even"]}}]),
}


def filters() -> st.SearchStrategy[dict[str, Any]]:
    """Of one field or several; what matches ranges from nothing to everything."""
    return st.sets(st.sampled_from(sorted(DEFINED)), min_size=1).flatmap(
        lambda names: st.tuples(*(DEFINED[name] for name in sorted(names))).map(
            lambda parts: {key: value for part in parts for key, value in part.items()}
        )
    )


async def test_a_filter_gives_what_a_scan_of_its_matches_gives(database_dsn: str) -> None:
    def metadata(number: int) -> dict[str, object]:
        return {"tenant": f"t{number}", "group": number % 4, "half": "odd" if number % 2 else "even"}

    rankings = st.sampled_from([Ranking(), Ranking("hybrid", "text 7"), Ranking("keyword", "text 7")])
    strategy = st.tuples(filters(), st.integers(1, 60), rankings, st.integers(0, 1_000))
    async with faiss(database_dsn) as store, exact(database_dsn) as scan:
        await load(store, corpus(unit_vectors(BROAD), metadata=metadata))
        await store.prepare_search()

        async def agree(filters_: dict[str, Any], top_k: int, ranking: Ranking, seed: int) -> None:
            question = unit_vectors(1, seed=seed)[0]
            found = await store.search(question, top_k=top_k, ranking=ranking, filters=filters_)
            assert found == await scan.search(question, top_k=top_k, ranking=ranking, filters=filters_)

        loop = asyncio.get_running_loop()

        @settings(max_examples=60, deadline=None)
        @given(strategy)
        def run(case: tuple[dict[str, Any], int, Ranking, int]) -> None:
            asyncio.run_coroutine_threadsafe(agree(*case), loop).result()

        await asyncio.to_thread(run)
        assert store.stats()["searches_approximate"] > 0, "no filter was broad"


@pytest.mark.parametrize("index_type", ["Flat", "IVF64,Flat"])
async def test_a_broad_filter_that_few_near_rows_meet_is_answered_completely(
    database_dsn: str, index_type: str
) -> None:
    """The 600 rows nearest to the question do not match; the 11,400 others do."""
    vectors = unit_vectors(BROAD)
    order = np.argsort(-vectors @ vectors[0])
    async with faiss(database_dsn, index_type) as store, exact(database_dsn) as scan:
        await load(store, corpus(vectors[order], metadata=lambda number: {"far": number >= 60}))
        await serves(store, index_type)
        for _ in range(2):
            found = await store.search(vectors[0], top_k=10, filters={"far": True})
            assert found == await scan.search(vectors[0], top_k=10, filters={"far": True})
            assert len(found) == 10
        assert store.stats()["short_results"] == 2


def spread(count: int) -> Vectors:
    """Unit vectors of 384 numbers that vary in 16 directions, and a little in all: harder than clusters."""
    random = np.random.default_rng(1)
    directions = random.normal(size=(16, 384))
    vectors = random.normal(size=(count, 16)) @ directions / 4 + 0.2 * random.normal(size=(count, 384))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


async def test_the_more_of_256_cells_are_visited_the_more_is_found(database_dsn: str) -> None:
    """The figures of docs/vector-search.md."""
    vectors = spread(20_100)
    stored, questions = vectors[:20_000], vectors[20_000:]
    wanted = (np.argsort(-questions @ stored.T, axis=1)[:, :10] + 1).tolist()
    recall = {}
    for nprobe in (1, 10, 32):
        async with faiss(database_dsn, "IVF256,Flat", nprobe=nprobe, dimension=384) as store:
            if nprobe == 1:
                await load(store, corpus(stored, chunks=500), batch=4)
            await serves(store, "IVF256,Flat")
            found = [ids(await store.search(question, top_k=10)) for question in questions]
            assert store.stats()["short_results"] == 0
        recall[nprobe] = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, wanted, strict=True)])
    assert recall[1] < 0.3, recall
    assert 0.65 < recall[10] < 0.85, recall
    assert recall[32] > 0.93, recall


async def test_an_index_that_cannot_be_built_is_told_and_the_exhaustive_one_goes_on(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_index: FaissIndex, _vectors: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(FaissIndex, "_train", fails)
    async with faiss(database_dsn, "IVF4,Flat") as store:
        await load(store, corpus(unit_vectors(200)))
        await store.prepare_search()

        async def told() -> bool:
            return (await store.index_state()).remark == "IVF4,Flat cannot be built: no room"

        await eventually(told)
        assert len(await store.search(axis(0), top_k=5)) == 5
        monkeypatch.undo()
        await store.replace([document("more", unit_vectors(2, seed=9))])
        await serves(store, "IVF4,Flat")


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
