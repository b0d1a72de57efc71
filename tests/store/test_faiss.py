"""Searching in a FAISS index over a real collection: what is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.faiss_index import FaissIndex
from sibyl_runtime.store.records import Ranking
from tests.store.faiss_stores import exact, faiss, ids, serves
from tests.store.samples import axis, corpus, document, eventually, load, opened, unit_vectors

METRICS = ("cosine", "euclidean", "dot_product")


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
        # Counts the words too: before that, which chunks are ranked by words that most of them hold is left open.
        await store.ensure_index()
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
