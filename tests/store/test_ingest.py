from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from sibyl_runtime.errors import DatabaseUnavailable, IngestError
from sibyl_runtime.store.ingest import holds_nul
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Chunk, EmbeddedDocument, IdRange
from tests.store.samples import DIMENSION, axis, document, eventually, load, opened, unit_vectors


@pytest.fixture
async def other_store(database_dsn: str, store: PgVectorStore) -> AsyncIterator[PgVectorStore]:
    """A second process's store over the same collection."""
    second = await opened(database_dsn)
    yield second
    await second.close()


async def _contents(store: PgVectorStore, *, top_k: int = 100, **search: Any) -> set[tuple[str, str]]:
    hits = await store.search(axis(0), top_k=top_k, **search)
    return {(hit.document_id, hit.content) for hit in hits}


async def test_what_goes_in_comes_out(store: PgVectorStore) -> None:
    metadata = {
        "year": 2020,
        "tags": ["a", "b"],
        "nested": {"ok": True},
        "day": datetime.date(2026, 1, 2),
        "quote": "'",
    }
    assert await store.replace([document("a", [axis(0), axis(1)], metadata=metadata)]) == 2
    best, second = await store.search(axis(0), top_k=5)
    assert (best.document_id, best.title, best.heading, best.content) == ("a", "Title of a", "Guide > Part", "text 0")
    assert best.score == pytest.approx(1.0)
    assert best.metadata == {
        "year": 2020, "tags": ["a", "b"], "nested": {"ok": True}, "day": "2026-01-02", "quote": "'",
    }  # fmt: skip
    assert second.content == "text 1"
    assert second.score == pytest.approx(0.0, abs=1e-3)


async def test_counts_and_version_follow_every_change(store: PgVectorStore) -> None:
    before = (await store.counts()).corpus_version
    steps: list[tuple[Callable[[], Awaitable[int]], int, int, bool]] = [
        (lambda: store.replace([document("a", [axis(0)]), document("b", [axis(1), axis(2)])]), 2, 3, True),
        (lambda: store.replace([document("b", [axis(1)], fingerprint="f2")]), 2, 2, True),
        (lambda: store.remove_missing("source-a", ["a"]), 1, 1, True),
        (lambda: store.remove_missing("source-a", ["a"]), 1, 1, False),
        (lambda: store.replace([]), 1, 1, False),
        (lambda: store.remove_missing("source-a", []), 0, 0, True),
    ]
    for change, documents, chunks, moves in steps:
        await change()
        counts = await store.counts()
        assert (counts.documents, counts.chunks) == (documents, chunks)
        assert (counts.corpus_version > before) is moves
        before = counts.corpus_version


async def test_a_database_that_was_set_back_repeats_no_version(database_dsn: str, store: PgVectorStore) -> None:
    """What a backup restores is older than the answers that are kept of what came after it."""
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as administrator:
        seen = {(await store.counts()).corpus_version}
        for round_ in range(3):
            await administrator.execute("UPDATE sibyl_collections SET corpus_version = 1700000000000")
            await store.replace([document("a", [axis(round_)])])
            seen.add((await store.counts()).corpus_version)
    assert len(seen) == 4


async def test_fingerprints_name_the_known_documents_alone(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)], fingerprint="fa"), document("b", [axis(1)], fingerprint="fb")])
    assert await store.fingerprints(["a", "b", "c"]) == {"a": {"source-a": "fa"}, "b": {"source-a": "fb"}}
    assert await store.fingerprints([]) == {}


async def test_a_changed_document_replaces_all_its_chunks(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0), axis(1), axis(2)]), document("b", [axis(3)])])
    await store.replace([document("a", [axis(4)], fingerprint="f2", text="new")])
    assert await _contents(store) == {("a", "new 0"), ("b", "text 0")}
    assert await store.fingerprints(["a"]) == {"a": {"source-a": "f2"}}


async def test_a_removed_document_is_removed_from_its_own_source_alone(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)]), document("b", [axis(1)]), document("c", [axis(2)], source="other")])
    assert await store.remove_missing("source-a", ["a"]) == 1
    assert await _contents(store) == {("a", "text 0"), ("c", "text 0")}


RANGES: list[tuple[IdRange, set[str]]] = [
    (IdRange(), {"B", "a", "é", "🐦"}),
    (IdRange(through="a"), {"B", "a"}),
    (IdRange(after="a"), {"é", "🐦"}),
    (IdRange(after="B", through="é"), {"a", "é"}),
    (IdRange(after="🐦"), set()),
]


@pytest.mark.parametrize(("within", "gone"), RANGES, ids=str)
async def test_a_removal_within_a_range_goes_by_code_points_and_keeps_what_is_present(
    store: PgVectorStore, within: IdRange, gone: set[str]
) -> None:
    """Capitals sort before small letters, and accents behind, whatever the database's language says."""
    ids = ["B", "a", "b", "é", "🐦"]
    assert sorted(ids) == ids
    await store.replace([document(id_, [axis(0)]) for id_ in ids] + [document("c", [axis(0)], source="other")])
    assert await store.remove_missing("source-a", ["b"], within) == len(gone)
    assert {id_ for id_, _ in await _contents(store)} == {*ids, "c"} - gone


async def test_two_sources_may_use_the_same_ids(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)]), document("a", [axis(1), axis(2)], source="other", text="theirs")])
    await store.replace([document("a", [axis(0)], text="new", fingerprint="f2")])
    assert await _contents(store) == {("a", "new 0"), ("a", "theirs 0"), ("a", "theirs 1")}
    assert await store.fingerprints(["a"]) == {"a": {"source-a": "f2", "other": "f1"}}
    assert await store.sources() == {"other": 1, "source-a": 1}
    assert await store.remove_missing("other", [], IdRange()) == 1
    assert await _contents(store) == {("a", "new 0")}
    counts = await store.counts()
    assert (counts.documents, counts.chunks) == (1, 1)
    assert len(await store.search(axis(0), top_k=10)) == 1


async def test_a_document_without_chunks_is_known_all_the_same(store: PgVectorStore) -> None:
    assert await store.replace([document("empty", np.zeros((0, DIMENSION), np.float32))]) == 0
    assert await store.fingerprints(["empty"]) == {"empty": {"source-a": "f1"}}
    assert (await store.counts()).documents == 1


async def test_removal_scales_to_many_ids(store: PgVectorStore) -> None:
    await load(store, [document(f"d{n}", [axis(n % DIMENSION)]) for n in range(50)])
    present = [f"d{n}" for n in range(20_000) if n != 7]
    assert await store.remove_missing("source-a", present) == 1
    assert "d7" not in await store.fingerprints(["d7", "d8"])


def _broken(**changes: Any) -> EmbeddedDocument:
    good = document("bad", [axis(0), axis(1)])
    return replace(
        good,
        document=replace(
            good.document, **{k: v for k, v in changes.items() if k in {"id", "source", "title", "metadata"}}
        ),
        **{k: v for k, v in changes.items() if k in {"chunks", "vectors"}},
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_broken(id=""), "its id must have 1 to 1000 bytes"),
        (_broken(id="ä" * 501), "its id must have 1 to 1000 bytes"),
        (_broken(source=""), "its source must have 1 to 1000 bytes; name a shorter one in `source` of data.load_docum"),
        (_broken(source="/" + "ä" * 500), "its source must have 1 to 1000 bytes"),
        (_broken(title="a\x00b"), "title holds a NUL character"),
        (_broken(title="\ud800"), "title is not valid Unicode"),
        (_broken(chunks=[Chunk(0, "a\x00", "", 1), Chunk(1, "b", "", 1)]), "chunk 0 holds a NUL character"),
        (_broken(metadata={"deep": [{"text": "\x00"}]}), "its metadata holds a NUL character"),
        (_broken(metadata={"what": object()}), "its metadata cannot be stored as JSON"),
        (_broken(metadata={"big": 2**70}), "its metadata cannot be stored as JSON"),
        (_broken(vectors=np.zeros((2, 16), np.float32)), r"its vectors have shape \(2, 16\), expected \(2, 8\)"),
        (_broken(vectors=np.full((2, 8), np.nan, np.float32)), "not finite in half precision"),
        (_broken(vectors=np.full((2, 8), 1e6, np.float32)), "not finite in half precision"),
        (_broken(vectors=np.zeros((2, 8), np.float32)), "a vector is zero"),
    ],
)
async def test_a_document_that_cannot_be_stored_is_named_and_nothing_of_its_batch_is_stored(
    store: PgVectorStore, broken: EmbeddedDocument, message: str
) -> None:
    before = await store.counts()
    with pytest.raises(IngestError, match=message) as refused:
        await store.replace([document("good", [axis(0)]), broken])
    assert refused.value.details["document"] in {"bad", "", broken.document.id[:80]}
    assert await store.counts() == before


async def test_an_id_twice_in_one_batch_is_refused(store: PgVectorStore) -> None:
    with pytest.raises(IngestError, match="two documents of one batch have the id `a`"):
        await store.replace([document("a", [axis(0)]), document("b", [axis(0)]), document("a", [axis(1)])])


@pytest.mark.parametrize(
    ("value", "found"),
    [("a\x00", True), ({"k\x00": 1}, True), ([1, ("x", "\x00")], True), ("\\u0000", False), (3, False)],
)
def test_nul_is_found_wherever_it_hides(value: object, found: bool) -> None:
    assert holds_nul(value) is found


async def test_text_that_only_looks_like_an_escaped_nul_is_stored(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)], metadata={"regex": "\\u0000"})])
    assert (await store.search(axis(0), top_k=1))[0].metadata == {"regex": "\\u0000"}


async def test_a_failure_halfway_leaves_the_former_chunks(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    before = await store.counts()
    clash = replace(document("a", [axis(1), axis(2)], text="new"), chunks=[Chunk(0, "x", "", 1), Chunk(0, "y", "", 1)])
    with pytest.raises(DatabaseUnavailable, match="duplicate key"):
        await store.replace([clash])
    assert await _contents(store) == {("a", "text 0")}
    assert await store.counts() == before


async def test_a_cancelled_load_leaves_the_former_chunks_and_a_working_store(store: PgVectorStore) -> None:
    await store.replace([document("a", [axis(0)])])
    before = await store.counts()
    large = [document(f"d{n}", unit_vectors(200, seed=n)) for n in range(40)]
    loading = asyncio.create_task(store.replace(large))

    async def under_way() -> bool:
        return store.stats()["pool_available"] == 0

    await eventually(under_way)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert await store.counts() == before
    assert await store.replace([document("b", [axis(1)])]) == 1


async def test_a_reader_never_sees_half_a_document(store: PgVectorStore, other_store: PgVectorStore) -> None:
    chunks = 30

    def version(number: int) -> EmbeddedDocument:
        return document("a", unit_vectors(chunks, seed=number), fingerprint=f"f{number}", text=f"version {number} part")

    await store.replace([version(0)])
    done = asyncio.Event()

    async def write() -> None:
        for number in range(1, 15):
            await store.replace([version(number)])
        done.set()

    async def read() -> int:
        seen = set()
        while not done.is_set():
            hits = await other_store.search(axis(0), top_k=2 * chunks)
            versions = {hit.content.split()[1] for hit in hits}
            assert len(versions) == 1
            assert len(hits) == chunks
            seen |= versions
        return len(seen)

    _, *seen = await asyncio.gather(write(), read(), read())
    assert max(seen) > 1


async def test_two_loads_at_once_take_turns_and_lose_nothing(store: PgVectorStore, other_store: PgVectorStore) -> None:
    async def run(target: PgVectorStore, order: range) -> None:
        for number in order:
            await target.replace([document(f"d{number}", [axis(number % 8)]), document(f"d{29 - number}", [axis(0)])])
            await target.remove_missing("other", [])

    await asyncio.gather(run(store, range(30)), run(other_store, range(29, -1, -1)))
    counts = await store.counts()
    assert (counts.documents, counts.chunks) == (30, 30)


async def test_a_load_is_not_ended_by_the_statement_timeout_of_requests(database_dsn: str) -> None:
    store = await opened(database_dsn, timeout=0.05)
    blocker = await psycopg.AsyncConnection.connect(database_dsn)
    await blocker.execute("SELECT 1 FROM sibyl_collections FOR UPDATE")
    loading = asyncio.create_task(store.replace([document("a", [axis(0)])]))
    await asyncio.wait({loading}, timeout=0.2)
    assert not loading.done()
    await blocker.rollback()
    assert await loading == 1
    await blocker.close()
    await store.close()


async def test_a_collection_that_vanished_is_an_outage_that_says_so(store: PgVectorStore, database_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as admin:
        await admin.execute("DELETE FROM sibyl_collections")
    with pytest.raises(DatabaseUnavailable, match="no longer registered"):
        await store.replace([document("a", [axis(0)])])
    with pytest.raises(DatabaseUnavailable, match="no longer registered"):
        await store.check()
