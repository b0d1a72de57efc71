from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import psycopg
import pytest

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, InvalidParameters
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store import connection as connection_module
from sibyl_runtime.store import search as search_module
from sibyl_runtime.store.filters import encode_filters
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.routing import Route, Row
from tests.store.samples import axis, corpus, document, load, opened, unit_vectors


@pytest.fixture
async def without_sequential_scans(database_dsn: str) -> str:
    """The database, its new connections avoiding a scan where an index could answer."""
    name = database_dsn.rpartition("/")[2]
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as admin:
        await admin.execute(f"ALTER DATABASE {name} SET enable_seqscan = off".encode())
    return database_dsn


async def _ids(store: PgVectorStore, vector: Vectors, top_k: int, **search: Any) -> list[int]:
    return [hit.chunk_id for hit in await store.search(vector, top_k=top_k, **search)]


def _toward(angle: float) -> Vectors:
    """A unit vector at `angle` from the first axis."""
    vector: Vectors = (np.cos(angle) * axis(0) + np.sin(angle) * axis(1)).astype(np.float32)
    return vector


async def test_an_empty_collection_answers_with_nothing(store: PgVectorStore) -> None:
    assert await store.search(axis(0), top_k=5) == []
    assert await store.search(axis(0), top_k=5, filters={"a": 1}) == []


@pytest.mark.parametrize(
    ("metric", "scores"),
    [
        ("cosine", [1.0, np.cos(0.5), np.cos(1.0)]),
        ("euclidean", [1.0, 1 / (1 + 2 * np.sin(0.25)), 1 / (1 + 2 * np.sin(0.5))]),
        ("dot_product", [1.0, np.cos(0.5), np.cos(1.0)]),
    ],
)
async def test_the_nearest_come_first_with_the_score_of_their_metric(
    database_dsn: str, metric: str, scores: list[float]
) -> None:
    store = await opened(database_dsn, distance_metric=metric)
    await store.replace([document(name, [_toward(angle)]) for name, angle in (("c", 1.0), ("a", 0.0), ("b", 0.5))])
    hits = await store.search(axis(0), top_k=3)
    await store.close()
    assert [hit.document_id for hit in hits] == ["a", "b", "c"]
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=2e-3)


async def test_the_threshold_drops_what_is_too_far(store: PgVectorStore) -> None:
    await store.replace([document(str(n), [_toward(n / 4)]) for n in range(6)])
    hits = await store.search(axis(0), top_k=6, threshold=0.8)
    assert [hit.document_id for hit in hits] == ["0", "1", "2"]
    assert await store.search(axis(0), top_k=6, threshold=1.01) == []


@pytest.mark.parametrize(
    "vector",
    [
        np.ones(7, np.float32),
        np.ones((1, 8), np.float32),
        np.full(8, np.inf, np.float32),
        np.array([1, 0, 0, np.nan, 0, 0, -np.inf, 0], np.float32),
    ],
)
async def test_a_query_vector_of_the_wrong_shape_is_refused(store: PgVectorStore, vector: Vectors) -> None:
    with pytest.raises(ValueError, match=r"shape \(8,\)"):
        await store.search(vector, top_k=1)


HOSTILE: dict[str, dict[str, Any]] = {
    "quote": {"it's": "O'Brien; DROP TABLE documents_chunks; --"},
    "json": {'a":1,"b': '"}]} || true'},
    "operator": {"$gt": "@> {}", "%(vector)b": "%s %(filter)b {chunks}"},
    "unicode": {"ключ \u2028": "значение \\u0041 😀"},
    "empty": {"": ""},
    "backslash": {"\\": "\\'\\"},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_keys_and_values_match_themselves_and_nothing_else(store: PgVectorStore, name: str) -> None:
    await store.replace([document(other, [axis(0)], metadata=metadata) for other, metadata in HOSTILE.items()])
    hits = await store.search(axis(0), top_k=10, filters=HOSTILE[name])
    assert [hit.document_id for hit in hits] == [name]
    assert hits[0].metadata == HOSTILE[name]
    assert (await store.counts()).documents == len(HOSTILE)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"year": 2020}, {"a", "b"}),
        ({"year": 2020.0}, {"a", "b"}),
        ({"year": "2020"}, set()),
        ({"year": 2020, "lang": "en"}, {"a"}),
        ({"draft": True}, {"b"}),
        ({"draft": 1}, {"c"}),
        ({"lang": "EN"}, set()),
        ({"tags": "x"}, set()),
    ],
)
async def test_filters_are_flat_equality(store: PgVectorStore, filters: dict[str, Any], found: set[str]) -> None:
    await store.replace(
        [
            document("a", [axis(0)], metadata={"year": 2020, "lang": "en", "tags": ["x"]}),
            document("b", [axis(0)], metadata={"year": 2020.0, "lang": "de", "draft": True}),
            document("c", [axis(0)], metadata={"year": 2021, "lang": "en", "draft": 1}),
        ]
    )
    assert {hit.document_id for hit in await store.search(axis(0), top_k=10, filters=filters)} == found


async def test_a_filter_that_is_no_equality_is_the_callers_mistake(store: PgVectorStore) -> None:
    with pytest.raises(InvalidParameters, match="filters"):
        await store.search(axis(0), top_k=1, filters={"year": {"$gt": 3}})


async def test_hnsw_finds_what_an_exact_search_finds(database_dsn: str) -> None:
    dimension, count = 64, 6_000
    vectors = unit_vectors(count, dimension, clusters=100)
    store = await opened(database_dsn, dimension=dimension)
    await load(store, corpus(vectors))
    questions = unit_vectors(30, dimension, seed=1, clusters=100) * 0.5 + vectors[:30]
    questions = (questions / np.linalg.norm(questions, axis=1, keepdims=True)).astype(np.float32)
    exact = [await _ids(store, question, 10) for question in questions]
    assert store.stats()["searches_exact"] == 30
    await store.ensure_index()
    for top_k, ids in ((10, exact), (100, [await _ids(store, question, 100) for question in questions])):
        found = [await _ids(store, question, top_k) for question in questions]
        assert {len(row) for row in found} == {top_k}
        recall = np.mean([len(set(a[:10]) & set(b)) / 10 for a, b in zip(ids, found, strict=True)])
        assert recall >= 0.95
    assert store.stats()["searches_approximate"] == 90
    await store.close()


async def test_an_index_gives_as_many_as_asked_for_beyond_its_candidates(indexed: PgVectorStore) -> None:
    for top_k in (40, 41, 100, 499):
        assert len(await indexed.search(axis(0), top_k=top_k)) == top_k
    assert indexed.stats()["searches_exact"] == 0
    assert len(await indexed.search(axis(0), top_k=900)) == 900
    assert indexed.stats()["searches_exact"] == 1
    assert indexed.stats()["short_results"] == 0


async def test_a_wide_search_does_not_change_the_connection_for_the_next(
    database_dsn: str, indexed: PgVectorStore
) -> None:
    await indexed.search(axis(0), top_k=200)

    async def setting(connection: Any) -> str:
        row = await (await connection.execute("SELECT current_setting('hnsw.ef_search')")).fetchone()
        return str(row[0])

    assert await indexed._database.run(setting, stage="test") == "40"


async def test_hits_are_sorted_although_the_index_gives_them_in_relaxed_order(
    indexed: PgVectorStore, monkeypatch: pytest.MonkeyPatch, without_sequential_scans: str
) -> None:
    # Taken for broad, the filter makes the index go on several times, each time beginning anew with the nearest.
    monkeypatch.setattr(search_module, "SELECTIVE_ROWS", 0)
    store = await opened(without_sequential_scans)
    for vector in unit_vectors(20, seed=3):
        scores = [hit.score for hit in await store.search(vector, top_k=20, filters={"group": 7})]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 20
    assert store.stats()["searches_approximate"] == 20
    await store.close()


async def test_a_selective_filter_is_answered_exactly_and_in_full(indexed: PgVectorStore) -> None:
    hits = await indexed.search(axis(0), top_k=50, filters={"tenant": "t3"})
    assert len(hits) == 10
    assert {hit.metadata["tenant"] for hit in hits} == {"t3"}
    assert indexed.stats()["searches_exact"] == 1


async def test_a_broad_filter_goes_through_the_index_and_is_remembered_for_a_minute(
    indexed: PgVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "SELECTIVE_ROWS", 1_000)
    search, now, taken = indexed._search, time.monotonic(), []
    execute = search._execute

    async def recorded(*arguments: Any) -> list[Row]:
        taken.append(arguments[2])
        return await execute(*arguments)

    monkeypatch.setattr(search, "_execute", recorded)
    for later in (0, 1, 59, 61):
        monkeypatch.setattr(search, "_clock", lambda moment=now + later: moment)
        hits = await indexed.search(axis(0), top_k=20, filters={"half": "even"})
        assert len(hits) == 20
        assert {hit.metadata["half"] for hit in hits} == {"even"}
    tried_and_found_broad = [Route.SELECTIVE, Route.APPROXIMATE]
    assert taken == [*tried_and_found_broad, Route.APPROXIMATE, Route.APPROXIMATE, *tried_and_found_broad]
    assert indexed.stats()["searches_approximate"] == 4


async def test_no_more_than_a_fixed_number_of_broad_filters_is_remembered(
    indexed: PgVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "SELECTIVE_ROWS", 0)
    monkeypatch.setattr(search_module, "_BROAD_FILTERS", 3)
    for group in range(5):
        await indexed.search(axis(0), top_k=1, filters={"group": group})
    assert list(indexed._search._broad) == [encode_filters({"group": group}) for group in (2, 3, 4)]


async def test_an_approximate_search_that_misses_rows_is_counted_and_repeated_exactly(
    indexed: PgVectorStore, monkeypatch: pytest.MonkeyPatch, without_sequential_scans: str
) -> None:
    # A filter that is taken for a broad one, and a walk through the graph that gives up early.
    monkeypatch.setattr(search_module, "SELECTIVE_ROWS", 0)
    monkeypatch.setattr(connection_module, "MAX_SCAN_TUPLES", 1)
    store = await opened(without_sequential_scans, hnsw_ef_search=1)
    hits = await store.search(axis(0), top_k=10, filters={"tenant": "t3"})
    stats = store.stats()
    await store.close()
    assert len(hits) == 10
    assert (stats["short_results"], stats["searches_exact"], stats["searches_approximate"]) == (1, 1, 0)


async def test_a_search_sees_an_index_that_another_process_built(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await opened(database_dsn, index_type="hnsw"), await opened(database_dsn, index_type="hnsw")
    await load(writer, corpus(unit_vectors(100)))
    await reader.search(axis(0), top_k=1)
    await writer.ensure_index()
    await reader.search(axis(0), top_k=1)
    assert reader.stats()["searches_approximate"] == 0
    now = reader._search._clock()
    reader._search._clock = lambda: now + 60
    await reader.search(axis(0), top_k=1)
    assert reader.stats()["searches_approximate"] == 1
    await reader.close()
    await writer.close()


async def test_an_ivfflat_index_is_probed_widely_enough(database_dsn: str) -> None:
    vectors = unit_vectors(3_000, clusters=40)
    store = await opened(database_dsn, index_type="ivfflat", lists=30)
    await load(store, corpus(vectors))
    exact = [await _ids(store, vector, 10) for vector in vectors[:20]]
    await store.ensure_index()
    found = [await _ids(store, vector, 10) for vector in vectors[:20]]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall >= 0.8
    assert store.stats()["searches_approximate"] == 20
    await store.close()


async def test_the_deadline_holds_and_the_connection_comes_back(store: PgVectorStore, database_dsn: str) -> None:
    await store.replace([document("a", [axis(0)])])
    async with await psycopg.AsyncConnection.connect(database_dsn) as blocker:
        await blocker.execute("LOCK TABLE documents_chunks IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DeadlineExceeded) as exceeded:
            await store.search(axis(0), top_k=1, timeout=0.1)
    assert exceeded.value.details == {"stage": "search"}
    assert len(await store.search(axis(0), top_k=1)) == 1
    assert store.stats()["pool_available"] == store.stats()["pool_size"]


async def test_a_dropped_table_is_a_refusal_that_names_it(store: PgVectorStore, database_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as admin:
        await admin.execute("DROP TABLE documents_chunks")
    with pytest.raises(DatabaseUnavailable, match=r'refuses search: relation "documents_chunks" does not exist'):
        await store.search(axis(0), top_k=1)


async def test_many_searches_at_once_share_the_pool(indexed: PgVectorStore) -> None:
    results = await asyncio.gather(*(indexed.search(axis(n % 8), top_k=5) for n in range(15)))
    assert {len(hits) for hits in results} == {5}
