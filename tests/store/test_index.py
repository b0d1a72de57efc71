from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
import pytest

from sibyl_runtime.store import index as index_module
from sibyl_runtime.store.collection import DISTANCE_METRICS, Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.index import (
    IndexSpec,
    IndexState,
    build_memory,
    desired_index,
    fits,
    index_name,
    lists_for,
    usable,
)
from sibyl_runtime.store.pgvector import PgVectorStore
from tests.store.samples import axis, corpus, document, eventually, load, opened, provider, unit_vectors

COSINE = Collection("documents", 384, "model-a", DISTANCE_METRICS["cosine"])
OPS = "halfvec_cosine_ops"
HNSW = IndexSpec("hnsw", OPS, {"m": 16, "ef_construction": 64})


def _state(kind: str = "hnsw", *, valid: bool = True, operator_class: str = OPS, **parameters: int) -> IndexState:
    return IndexState(kind, 6_000, valid, parameters or {"m": 16, "ef_construction": 64}, 1, "x", operator_class)


@pytest.mark.parametrize(
    ("settings", "rows", "expected"),
    [
        ({}, 4_999, None),
        ({}, 5_000, HNSW),
        ({"hnsw_m": 8, "hnsw_ef_construction": 32}, 9_000, IndexSpec("hnsw", OPS, {"m": 8, "ef_construction": 32})),
        ({"index_type": "none"}, 1_000_000, None),
        ({"index_type": "hnsw"}, 0, HNSW),
        ({"index_type": "ivfflat"}, 0, IndexSpec("ivfflat", OPS, {"lists": 1}, tolerant=True)),
        ({"index_type": "ivfflat"}, 50_000, IndexSpec("ivfflat", OPS, {"lists": 50}, tolerant=True)),
        ({"index_type": "ivfflat", "lists": 7}, 50_000, IndexSpec("ivfflat", OPS, {"lists": 7})),
    ],
)
def test_settings_and_size_ask_for_an_index(settings: dict[str, Any], rows: int, expected: IndexSpec | None) -> None:
    assert desired_index(provider(None, **settings), COSINE, rows) == expected


@pytest.mark.parametrize(("rows", "lists"), [(0, 1), (999, 1), (20_000, 20), (1_000_000, 1_000), (4_000_000, 2_000)])
def test_lists_follow_the_rows(rows: int, lists: int) -> None:
    assert lists_for(rows) == lists


@pytest.mark.parametrize(
    ("spec", "found", "serves"),
    [
        (HNSW, _state(), True),
        (HNSW, _state(valid=False), False),
        (HNSW, _state(operator_class="halfvec_l2_ops"), False),
        (HNSW, _state(m=8, ef_construction=64), False),
        (HNSW, _state("ivfflat", lists=6), False),
        (IndexSpec("ivfflat", OPS, {"lists": 12}), _state("ivfflat", lists=10), False),
        (IndexSpec("ivfflat", OPS, {"lists": 15}, tolerant=True), _state("ivfflat", lists=10), True),
        (IndexSpec("ivfflat", OPS, {"lists": 16}, tolerant=True), _state("ivfflat", lists=10), False),
        (IndexSpec("ivfflat", OPS, {"lists": 2}, tolerant=True), _state("ivfflat", lists=1), True),
        (IndexSpec("ivfflat", OPS, {"lists": 4}, tolerant=True), _state("ivfflat", lists=10), False),
    ],
)
def test_an_index_serves_when_it_is_what_is_wanted(spec: IndexSpec, found: IndexState, serves: bool) -> None:
    assert fits(spec, found) is serves


@pytest.mark.parametrize(
    ("spec", "rows", "megabytes"),
    [
        (HNSW, 100, 64),
        (HNSW, 100_000, 156),
        (HNSW, 10_000_000, 1024),
        (IndexSpec("ivfflat", OPS, {"lists": 50}), 1, 64),
        (IndexSpec("ivfflat", OPS, {"lists": 1000}), 1, 263),
    ],
)
def test_build_memory_is_measured_and_bounded(spec: IndexSpec, rows: int, megabytes: int) -> None:
    assert round(build_memory(spec, COSINE, rows) / 2**20) == megabytes


def test_names_tell_shapes_apart_and_fit() -> None:
    long = Collection("c" * 41, 384, "t", DISTANCE_METRICS["cosine"])
    other = IndexSpec("hnsw", OPS, {"m": 8, "ef_construction": 64})
    assert index_name(HNSW, long) != index_name(other, long)
    assert len(index_name(HNSW, long)) <= 63


def test_only_a_valid_index_of_the_metric_is_usable() -> None:
    wrong = [_state(valid=False), _state(operator_class="halfvec_l2_ops")]
    assert usable(wrong, COSINE) is None
    assert usable([*wrong, _state("ivfflat", lists=3), _state()], COSINE) == _state()


async def _indexes(dsn: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT am.amname, c.reloptions, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am am ON am.oid = c.relam WHERE am.amname IN ('hnsw', 'ivfflat') ORDER BY 1, 2"
        )
        return await cursor.fetchall()


HNSW_ROW = ("hnsw", ["m=16", "ef_construction=64"], True)


async def test_a_small_collection_gets_no_index_and_a_grown_one_gets_hnsw(
    database_dsn: str, store: PgVectorStore
) -> None:
    await load(store, corpus(unit_vectors(1_000)))
    await store.ensure_index()
    state = await store.index_state()
    assert (state.kind, state.rows, state.valid, state.size_bytes) == ("none", 1_000, True, 0)
    await load(store, corpus(unit_vectors(5_000)))
    await store.ensure_index()
    state = await store.index_state()
    assert (state.kind, state.rows, state.valid) == ("hnsw", 5_000, True)
    assert state.parameters == {"m": 16, "ef_construction": 64}
    assert state.size_bytes > 500_000
    await store.remove_missing("source-a", [])
    await store.ensure_index()
    assert await _indexes(database_dsn) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, [("hnsw", ["m=16", "ef_construction=64"], True)]),
        ({}, {"hnsw_m": 8}, [("hnsw", ["m=8", "ef_construction=64"], True)]),
        ({}, {"hnsw_ef_search": 100}, [("hnsw", ["m=16", "ef_construction=64"], True)]),
        ({}, {"index_type": "ivfflat"}, [("ivfflat", ["lists=1"], True)]),
        (
            {"index_type": "ivfflat", "lists": 3},
            {"index_type": "ivfflat", "lists": 5},
            [("ivfflat", ["lists=5"], True)],
        ),
        ({}, {"index_type": "none"}, []),
        ({}, {"index_type": "auto"}, []),
        ({}, {"create_index": False, "hnsw_m": 8}, [("hnsw", ["m=16", "ef_construction=64"], True)]),
        ({"create_index": False}, {"create_index": False}, []),
    ],
)
async def test_changed_settings_change_the_index(
    database_dsn: str, before: dict[str, Any], after: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    for settings in (before, after):
        store = await opened(database_dsn, **{"index_type": "hnsw", **settings})
        await load(store, corpus(unit_vectors(200)))
        await store.ensure_index()
        await store.close()
    assert await _indexes(database_dsn) == expected


async def test_another_metric_rebuilds_the_index_for_it(database_dsn: str) -> None:
    for metric in ("cosine", "dot_product"):
        store = await opened(database_dsn, index_type="hnsw", distance_metric=metric)
        await load(store, corpus(unit_vectors(100)))
        await store.ensure_index()
        assert (await store.index_state()).operator_class == DISTANCE_METRICS[metric].operator_class
        await store.search(axis(0), top_k=1)
        assert store.stats()["searches_approximate"] == 1
        await store.close()
    assert await _indexes(database_dsn) == [HNSW_ROW]


async def test_an_index_that_is_right_is_left_alone(database_dsn: str) -> None:
    store = await opened(database_dsn, index_type="hnsw")
    await load(store, corpus(unit_vectors(100)))
    await store.ensure_index()
    before = await _oids(database_dsn)
    await store.ensure_index()
    assert await _oids(database_dsn) == before
    await store.close()


async def _oids(dsn: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT indexrelid FROM pg_index WHERE indrelid = 'documents_chunks'::regclass"
        )
        return await cursor.fetchall()


async def test_an_index_of_the_administrators_own_is_used_and_kept(database_dsn: str) -> None:
    store = await opened(database_dsn, index_type="hnsw", hnsw_m=8)
    await load(store, corpus(unit_vectors(100)))
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as admin:
        await admin.execute(
            "CREATE INDEX hand_made ON documents_chunks USING hnsw (embedding halfvec_cosine_ops) WITH (m = 8)"
        )
    await store.ensure_index()
    assert (await store.index_state()).name == "hand_made"
    await store.close()
    assert await _indexes(database_dsn) == [("hnsw", ["m=8"], True)]


async def _held_snapshot(dsn: str) -> psycopg.AsyncConnection[Any]:
    """A transaction that makes every concurrent index build wait before it ends."""
    connection = await psycopg.AsyncConnection.connect(dsn)
    await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    await connection.execute("SELECT count(*) FROM documents_chunks")
    return connection


async def test_a_build_that_was_killed_leaves_nothing_that_the_next_does_not_mend(database_dsn: str) -> None:
    store = await opened(database_dsn, index_type="hnsw")
    await load(store, corpus(unit_vectors(100)))
    blocker = await _held_snapshot(database_dsn)
    building = asyncio.create_task(store.ensure_index())

    async def half_built() -> bool:
        return [row[2] for row in await _indexes(database_dsn)] == [False]

    await eventually(half_built)
    assert (await store.index_state()).valid is False
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    await blocker.close()
    assert [row[2] for row in await _indexes(database_dsn)] == [False]
    assert len(await store.search(axis(0), top_k=5)) == 5
    await store.ensure_index()
    assert await _indexes(database_dsn) == [HNSW_ROW]
    await store.close()


async def test_a_rebuild_leaves_no_moment_without_an_index(database_dsn: str) -> None:
    first = await opened(database_dsn, index_type="hnsw")
    await load(first, corpus(unit_vectors(200)))
    await first.ensure_index()
    second = await opened(database_dsn, index_type="hnsw", hnsw_m=8)
    blocker = await _held_snapshot(database_dsn)
    building = asyncio.create_task(second.ensure_index())

    async def both_there() -> bool:
        return len(await _indexes(database_dsn)) == 2

    await eventually(both_there)
    state = await second.index_state()
    assert (state.kind, state.valid, state.parameters["m"]) == ("hnsw", True, 16)
    await second.replace([document("during", [axis(0)])])
    await blocker.close()
    while not building.done():
        assert (await second.index_state()).valid
    await building
    assert (await second.index_state()).parameters["m"] == 8
    assert await _indexes(database_dsn) == [("hnsw", ["m=8", "ef_construction=64"], True)]
    assert (await second.search(axis(0), top_k=1))[0].document_id == "during"
    await first.close()
    await second.close()


async def test_two_processes_build_one_index(database_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    stores = [await opened(database_dsn, index_type="hnsw") for _ in range(2)]
    await load(stores[0], corpus(unit_vectors(500)))
    with caplog.at_level(logging.INFO, logger="sibyl_runtime.store.index"):
        await asyncio.gather(*(store.ensure_index() for store in stores))
    assert caplog.text.count("built hnsw index of collection documents over 500 chunks") == 1
    assert await _indexes(database_dsn) == [HNSW_ROW]
    for store in stores:
        await store.close()


async def test_counts_are_set_right_after_rows_were_changed_by_hand(database_dsn: str, store: PgVectorStore) -> None:
    await store.replace([document(str(n), [axis(0), axis(1)]) for n in range(4)])
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as admin:
        await admin.execute("DELETE FROM documents_documents WHERE id = '1'")
    before = await store.counts()
    await store.ensure_index()
    counts = await store.counts()
    assert (counts.documents, counts.chunks) == (3, 6)
    assert counts.corpus_version > before.corpus_version
    await store.ensure_index()
    assert await store.counts() == counts


async def test_a_graph_that_outgrows_its_memory_is_reported(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_module, "_MEMORY_FLOOR", 1024 * 1024)
    monkeypatch.setattr(index_module, "_MEMORY_CEILING", 1024 * 1024)
    store = await opened(database_dsn, dimension=64, index_type="hnsw")
    await load(store, corpus(unit_vectors(3_000, 64)))
    with caplog.at_level(logging.WARNING, logger="sibyl_runtime.store.index"):
        await store.ensure_index()
    assert "no longer fits into maintenance_work_mem" in caplog.text
    assert await _indexes(database_dsn) == [HNSW_ROW]
    await store.close()


async def test_a_parallel_build_without_shared_memory_is_repeated_by_one_process(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = index_module._create
    tried: list[str] = []

    async def full_once(connection: Connection, collection: Collection, spec: IndexSpec) -> None:
        row = await (await connection.execute("SHOW max_parallel_maintenance_workers")).fetchone()
        assert row is not None
        tried.append(row[0])
        await create(connection, collection, spec)
        if len(tried) == 1:
            raise psycopg.errors.DiskFull("could not resize shared memory segment")

    monkeypatch.setattr(index_module, "_create", full_once)
    store = await opened(database_dsn, index_type="hnsw")
    await load(store, corpus(unit_vectors(100)))
    await store.ensure_index()
    await store.close()
    assert tried == ["2", "0"]
    assert await _indexes(database_dsn) == [HNSW_ROW]


async def test_statistics_are_fresh_after_a_load(database_dsn: str, store: PgVectorStore) -> None:
    await load(store, corpus(unit_vectors(1_000)))
    await store.ensure_index()
    async with await psycopg.AsyncConnection.connect(database_dsn) as connection:
        cursor = await connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'documents_chunks'")
        assert await cursor.fetchone() == (1_000,)
