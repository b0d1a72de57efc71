"""The full text of a collection: kept in step with the chunks, made for collections that have none, made once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store import words
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Ranking
from tests.store.samples import axis, document, load, opened

SENTENCES = {
    "pool": "A pool bounds the connections to the database.",
    "cache": "The cache keeps what it has answered, O'Brien's \\ too.",
    "index": "An index makes the database find things.",
}


def _sql(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def _stocked(dsn: str, **settings: Any) -> PgVectorStore:
    store = await opened(dsn, **settings)
    await store.replace([document(name, [axis(0)], text=text) for name, text in SENTENCES.items()])
    return store


def _as_version_2(dsn: str) -> None:
    """What a former version left: no full text, and nothing that keeps it."""
    _sql(
        dsn,
        "DROP TABLE documents_lexemes, documents_frequencies; DROP FUNCTION documents_words() CASCADE;"
        " UPDATE sibyl_collections SET schema_version = 2",
    )


async def _keyword(store: PgVectorStore, text: str, **search: Any) -> list[str]:
    hits = await store.search(axis(0), top_k=9, ranking=Ranking("keyword", text), **search)
    return [hit.document_id for hit in hits]


def _strays(dsn: str) -> list[tuple[Any, ...]]:
    """Chunks without lexemes, and lexemes without a chunk."""
    return _sql(
        dsn,
        "SELECT c.id, l.chunk_id FROM documents_chunks c FULL JOIN documents_lexemes l ON l.chunk_id = c.id"
        " WHERE c.id IS NULL OR l.chunk_id IS NULL",
    )


async def test_words_follow_the_chunks_in_the_same_transaction(database_dsn: str) -> None:
    store = await _stocked(database_dsn)
    assert await _keyword(store, "cached connections") == ["pool", "cache"]
    await store.replace([document("pool", [axis(0), axis(1)], text="Drizzle and fog.")])
    assert await _keyword(store, "connections") == []
    assert await _keyword(store, "fog") == ["pool", "pool"]
    await store.remove_missing("source-a", ["cache"])
    assert await _keyword(store, "fog cache") == ["cache"]
    assert _strays(database_dsn) == []
    _sql(database_dsn, "TRUNCATE documents_chunks")
    assert _strays(database_dsn) == []
    await store.close()


async def test_a_collection_of_the_version_before_keeps_its_rows_and_gets_its_words(
    database_dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_BATCH", 2)
    store = await _stocked(database_dsn)
    before = await store.counts()
    await store.close()
    _as_version_2(database_dsn)
    with caplog.at_level(logging.INFO):
        store = await opened(database_dsn)
    assert "gets its full text" in caplog.text
    assert "read 3 chunks" in caplog.text
    after = await store.counts()
    assert (after.documents, after.chunks) == (before.documents, before.chunks) == (3, 3)
    assert after.corpus_version > before.corpus_version
    assert set(await _keyword(store, "database")) == {"index", "pool"}
    assert _sql(database_dsn, "SELECT schema_version FROM sibyl_collections") == [(3,)]
    assert _sql(database_dsn, "SELECT chunks FROM documents_frequencies WHERE lexeme IN ('', 'databas')") == [
        (2,),
        (3,),
    ]
    await store.close()


async def test_two_processes_that_start_at_once_make_it_once(
    database_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(database_dsn)
    await load(store, [document(f"d{number}", [axis(0)], text=f"word{number}") for number in range(1_200)])
    await store.close()
    _as_version_2(database_dsn)
    with caplog.at_level(logging.INFO):
        stores = await asyncio.gather(*(opened(database_dsn) for _ in range(4)))
    assert caplog.text.count("gets its full text") == 1
    assert [await _keyword(store, "word777") for store in stores] == [["d777"]] * 4
    assert _strays(database_dsn) == []
    await asyncio.gather(*(store.close() for store in stores))


async def test_one_that_was_interrupted_goes_on_and_readers_are_not_in_its_way(database_dsn: str) -> None:
    await (await _stocked(database_dsn)).close()
    _sql(database_dsn, "DELETE FROM documents_lexemes WHERE chunk_id > 1")
    _sql(database_dsn, "UPDATE sibyl_collections SET schema_version = 2")
    async with await psycopg.AsyncConnection.connect(database_dsn) as reader:
        # Holds what every search holds, until the end: a lock that shuts readers out would wait for it.
        await reader.execute("SELECT count(*) FROM documents_chunks, documents_documents, sibyl_collections")
        store = await asyncio.wait_for(opened(database_dsn), 20)
    assert _strays(database_dsn) == []
    await store.close()


async def test_words_that_were_dropped_are_made_anew_in_another_language(database_dsn: str) -> None:
    await (await _stocked(database_dsn)).close()
    with pytest.raises(StartupError) as refused:
        await opened(database_dsn, text_search="simple")
    assert str(refused.value) == (
        "the full text of collection `documents` was made in `english`, and "
        "`providers.vector_store.<name>.text_search` is `simple`: set it back, or have it made anew at the next start, "
        "without embedding again: DROP TABLE documents_lexemes, documents_frequencies;"
    )
    _sql(database_dsn, "DROP TABLE documents_lexemes, documents_frequencies")
    store = await opened(database_dsn, text_search="simple")
    assert await _keyword(store, "connection") == []
    assert await _keyword(store, "connections") == ["pool"]
    await store.replace([document("new", [axis(0)], text="Connections again.")])
    assert set(await _keyword(store, "connections")) == {"pool", "new"}
    await store.close()


async def test_words_of_a_collection_that_was_dropped_do_not_stay(database_dsn: str) -> None:
    await (await _stocked(database_dsn)).close()
    _sql(database_dsn, "DROP TABLE documents_chunks, documents_documents, sibyl_collections")
    store = await opened(database_dsn, text_search="simple")
    await store.replace([document("a", [axis(0)], text="fog")])
    assert await _keyword(store, "fog connections") == ["a"]
    assert _strays(database_dsn) == []
    await store.close()


async def test_a_foreign_table_of_the_name_is_left_alone(database_dsn: str) -> None:
    _sql(database_dsn, "CREATE TABLE documents_lexemes (precious text)")
    with pytest.raises(StartupError, match=r"documents_lexemes.*choose another .*collection_name"):
        await opened(database_dsn)
    assert _sql(database_dsn, "SELECT to_regclass('documents_lexemes')::text") == [("documents_lexemes",)]


async def test_frequencies_are_counted_again_when_a_tenth_has_changed(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = "SELECT chunks FROM documents_frequencies WHERE lexeme = 'common'"
    store = await opened(database_dsn)
    await load(store, [document(f"d{number}", [axis(0)], text="common") for number in range(100)])
    await store.ensure_index()
    assert _sql(database_dsn, counted) == [(100,)]
    await load(store, [document(f"e{number}", [axis(0)], text="common") for number in range(10)])
    await store.ensure_index()
    assert _sql(database_dsn, counted) == [(100,)]
    monkeypatch.setattr(words, "_COUNTED_WHOLE", 100)
    await load(store, [document(f"f{number}", [axis(0)], text="common") for number in range(890)])
    await store.ensure_index()
    ((estimated,),) = _sql(database_dsn, counted)
    assert 0 < estimated <= 10_000
    assert _sql(database_dsn, "SELECT chunks FROM documents_frequencies WHERE lexeme = ''") == [(1_000,)]
    await store.close()
