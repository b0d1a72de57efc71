"""The rows of a query of a real PostgreSQL as documents: types, what is left out or refused, bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, IngestError, InvalidParameters
from sibyl_runtime.ingestion import loading_settings
from sibyl_runtime.pipeline.context import IngestLedger
from sibyl_runtime.techniques.documents import rows
from tests.support.parts import Parts
from tests.support.postgres import PostgresServer

ARTICLES = """
CREATE TABLE articles (
  key integer PRIMARY KEY, body text, head text, day date, at timestamptz, price numeric, exact numeric, tags text[],
  facts jsonb, uid uuid, open time, took interval, host inet, live boolean, nothing text
);
INSERT INTO articles VALUES (
  1, 'Pools hold connections.', 'On  pools', '2024-02-29', '2024-02-29 14:30+02', 12.5, 100000000000000000, '{a,b}',
  '{"deep": {"n": [1, 2.5, null]}}', '6f0d6e0e-58f5-4c69-9d4a-0a3a3f6d4a11', '08:15', '90 minutes', '192.0.2.1', true,
  NULL
);
INSERT INTO articles (key, body) VALUES (2, 'Keyword search ranks by rare words, 50%.'), (3, NULL), (4, '  ');
"""
QUERY = "SELECT * FROM articles WHERE body IS NULL OR body NOT LIKE '%xyz%' ORDER BY key;"
FIELDS = {"id_field": "key", "text_field": "body", "title_field": "head"}


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture
def articles(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of somebody else, with a table of articles."""
    dsn = postgres_server.create_database(template="template1")
    execute(dsn, ARTICLES)
    yield dsn
    postgres_server.drop_database(dsn)


def sql_name(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        return connection.info.dbname


def use(parts: Parts, dsn: str, query: str = QUERY, **settings: Any) -> None:
    """Make the workspace's pipeline `ingest` load the rows of a query."""
    config = {"dsn": dsn, "query": query, "source": "articles", **FIELDS, **settings}
    uses = ["rag.chunking", "rag.embedding", "data.store_vectors"]
    steps = [{"use": "data.load_documents", "config": config}, *({"use": use} for use in uses)]
    parts.document["pipelines"] = {"ingest": {"steps": steps}}


async def load(parts: Parts) -> IngestLedger:
    result = await parts.run("ingest")
    (ledger,) = result.ledgers
    return ledger


async def test_rows_become_documents_with_typed_metadata(parts: Parts, articles: str) -> None:
    use(parts, articles)
    ledger = await load(parts)
    assert ledger.source == "articles"
    assert {skipped.path: skipped.reason for skipped in ledger.skipped} == {
        "query:3": '"body" must be text, found null',
        "query:4": '"body" is empty',
    }
    found = {hit.document_id: hit for hit in await parts.search("pools", top_k=10)}
    assert {key: (hit.title, hit.content) for key, hit in found.items()} == {
        "1": ("On pools", "Pools hold connections."),
        "2": ("", "Keyword search ranks by rare words, 50%."),
    }
    assert dict(found["2"].metadata) == {}
    assert dict(found["1"].metadata) == {
        "day": "2024-02-29",
        "at": "2024-02-29T12:30:00+00:00",
        "price": 12.5,
        "exact": 100000000000000000,
        "tags": ["a", "b"],
        "facts": {"deep": {"n": [1, 2.5, None]}},
        "uid": "6f0d6e0e-58f5-4c69-9d4a-0a3a3f6d4a11",
        "open": "08:15:00",
        "took": 5400.0,
        "host": "192.0.2.1",
        "live": True,
    }
    assert [hit.document_id for hit in await parts.search("pools", filters={"price": {"gt": 12}})] == ["1"]


async def test_moments_that_python_has_no_value_for_are_their_text(parts: Parts, articles: str) -> None:
    odd = (
        "SELECT 1 AS key, 'Pools hold connections.' AS body, 'On pools' AS head, 'infinity'::timestamptz AS ends, "
        "'-infinity'::date AS begins, '0044-03-15 BC'::date AS ides, '20000-01-01'::timestamp AS far, "
        "ARRAY['infinity', '2024-02-29']::date[] AS days, '24:00'::time AS midnight, 'infinity'::interval AS lasts"
    )
    use(parts, articles, odd)
    ledger = await load(parts)
    assert ledger.skipped == []
    (hit,) = await parts.search("pools")
    assert dict(hit.metadata) == {
        "ends": "infinity",
        "begins": "-infinity",
        "ides": "0044-03-15 BC",
        "far": "20000-01-01 00:00:00",
        "days": ["infinity", "2024-02-29"],
        "midnight": "24:00:00",
        "lasts": "infinity",
    }


async def test_moments_do_not_depend_on_how_the_server_writes_them(parts: Parts, articles: str) -> None:
    use(parts, articles)
    await load(parts)
    (before,) = [hit for hit in await parts.search("pools", top_k=10) if hit.document_id == "1"]
    for style, value in (("datestyle", "SQL, DMY"), ("intervalstyle", "iso_8601")):
        execute(articles, f"ALTER DATABASE {sql_name(articles)} SET {style} = '{value}'")
    ledger = await load(parts)
    assert (ledger.stored, ledger.unchanged) == (0, 2)
    assert before.metadata["took"] == 5400.0


async def test_a_row_that_is_gone_disappears_and_an_unchanged_one_costs_nothing(parts: Parts, articles: str) -> None:
    use(parts, articles)
    await load(parts)
    execute(articles, "DELETE FROM articles WHERE key = 1; INSERT INTO articles (key, body) VALUES (5, 'New.')")
    ledger = await load(parts)
    assert (ledger.unchanged, ledger.stored, ledger.removed) == (1, 1, 1)
    assert set(await parts.documents("1", "2", "5")) == {"2", "5"}


@pytest.mark.parametrize("streaming", [True, False])
async def test_rows_are_fetched_and_passed_on_chunk_size_at_a_time(
    parts: Parts, articles: str, streaming: bool
) -> None:
    use(
        parts, articles, "SELECT n::text AS key, 'Text ' || n AS body FROM generate_series(1, 7) n",
        chunk_size=3, streaming=streaming, title_field="body",
    )  # fmt: skip
    ledger = await load(parts)
    assert ledger.stored == 7
    assert ledger.total_documents == (None if streaming else 7)
    assert list(ledger.present) == [str(number) for number in range(1, 8)]


async def test_two_rows_of_one_id_are_refused_and_nothing_is_removed(parts: Parts, articles: str) -> None:
    use(parts, articles)
    await load(parts)
    use(parts, articles, "SELECT 9 AS key, body, head FROM articles WHERE key < 3")
    with pytest.raises(IngestError, match='several rows with the id "9"'):
        await load(parts)
    assert {"1", "2"} <= set(await parts.documents("1", "2"))


async def test_a_row_without_an_id_is_left_out_and_hides_nothing(parts: Parts, articles: str) -> None:
    use(parts, articles)
    await load(parts)
    use(parts, articles, "SELECT NULLIF(key, 1) AS key, body, head FROM articles WHERE key < 3 ORDER BY 1 NULLS FIRST")
    ledger = await load(parts)
    assert [skipped.reason for skipped in ledger.skipped] == ['"key" is null; a document needs an id']
    assert ledger.removed == 1


async def test_a_text_that_is_too_long_is_left_out(
    parts: Parts, articles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LONGEST_LINE", 30)
    use(parts, articles, "SELECT key, body, head FROM articles WHERE key < 3")
    ledger = await load(parts)
    assert [skipped.reason for skipped in ledger.skipped] == ["its text is longer than 30 characters"]
    assert list(ledger.present) == ["1", "2"]


async def test_many_bad_rows_are_counted_and_what_they_were_before_stays(
    parts: Parts, articles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(parts, articles, "SELECT n AS key, 'Text.' AS body, '' AS head FROM generate_series(1, 9) n")
    await load(parts)
    monkeypatch.setattr(rows, "MOST_BAD", 2)
    use(
        parts,
        articles,
        "SELECT n AS key, CASE n WHEN 1 THEN 'Text.' END AS body, '' AS head FROM generate_series(1, 9) n",
    )
    ledger = await load(parts)
    assert [skipped.path for skipped in ledger.skipped] == ["query:2", "query:3", "query"]
    assert ledger.skipped[-1].reason == "6 more rows were left out for such reasons"
    assert len(ledger.present) == 9
    assert ledger.removed == 0


@pytest.mark.parametrize(
    ("query", "settings", "message"),
    [
        ("SELECT key, head FROM articles", {}, r'no column "body" \(text_field\); it has "key", "head"\. Name one'),
        ("SELECT body, head FROM articles", {}, r'no column "key" \(id_field\); it has "body", "head"'),
        ("SELECT key, body FROM articles", {}, r'no column "head" \(title_field\)'),
        ("SELECT key, body, head, head FROM articles", {}, r'several columns "head"; give each a name'),
        ("SELECT key, body, head FROM artikles", {}, r'relation "artikles" does not exist \(SQLSTATE 42P01\); correct'),
        ("DELETE FROM articles", {}, r"syntax error .*; `query` must be one SELECT"),
        ("SELECT nextval('numbers') AS key, body, head FROM articles", {}, r"read-only .*; `query` may only read"),
        ("SELECT key, body, head FROM articles WHERE key > 9", {}, r"source articles; it has no rows\. Nothing was"),
        ("SELECT key, body, head FROM articles WHERE key > 2", {}, r"left out: query:1: .* Nothing was changed"),
    ],
)  # fmt: skip
async def test_what_a_query_lacks_is_said(
    parts: Parts, articles: str, query: str, settings: dict[str, Any], message: str
) -> None:
    execute(articles, "CREATE SEQUENCE numbers")
    use(parts, articles, query, **settings)
    with pytest.raises(IngestError, match=message) as caught:
        await load(parts)
    assert "\n" not in caught.value.message


async def test_a_query_that_takes_too_long_is_ended_by_the_server(parts: Parts, articles: str) -> None:
    use(parts, articles, "SELECT 1 AS key, pg_sleep(60)::text AS body, '' AS head", query_timeout=0.05)
    with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s; make the query cheaper, or raise query_timeout"):
        await load(parts)


async def test_who_may_not_read_is_told_without_the_password(
    parts: Parts, articles: str, postgres_server: PostgresServer
) -> None:
    execute(postgres_server.dsn, "CREATE ROLE rows_reader LOGIN PASSWORD 's3cret'")
    database = psycopg.conninfo.conninfo_to_dict(articles)["dbname"]
    use(parts, postgres_server.dsn_of(str(database), user="rows_reader", password="s3cret"))
    with pytest.raises(IngestError, match=r"permission denied for table articles .*grant rows_reader") as refused:
        await load(parts)
    use(parts, postgres_server.dsn_of(str(database), user="rows_reader", password="wr0ng"))
    with pytest.raises(DatabaseUnavailable, match=r"cannot read from PostgreSQL at host .*; check `dsn`") as failed:
        await load(parts)
    use(parts, "postgresql://rows_reader:s3cret@127.0.0.1:1/docs")
    with pytest.raises(DatabaseUnavailable, match="port 1, database docs") as unreachable:
        await load(parts)
    use(parts, "postgresql://rows_reader:s3cret@[host/docs")
    with pytest.raises(IngestError, match="is not a PostgreSQL connection string") as malformed:
        await load(parts)
    for told in (refused, failed, unreachable, malformed):
        assert "s3cret" not in f"{told.value} {told.value.details}"
        assert "wr0ng" not in f"{told.value} {told.value.details}"


async def test_a_path_is_refused_where_rows_are_read(parts: Parts, articles: str) -> None:
    use(parts, articles)
    with pytest.raises(InvalidParameters, match="`path` has no meaning here"):
        await parts.run("ingest", path="docs")
    with pytest.raises(InvalidParameters, match="reads the rows of a query, not files"):
        loading_settings(parts.workspace, "ingest")


async def test_the_transaction_reads_only_and_ends_with_the_load(parts: Parts, articles: str) -> None:
    use(parts, articles, "SELECT 1 AS key, current_setting('transaction_read_only') AS body, '' AS head")
    await load(parts)
    (hit,) = await parts.search("on")
    assert hit.content == "on"
    with psycopg.connect(articles) as connection:
        others = connection.execute(sql.SQL("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"))
        assert others.fetchone() == (1,)


LOAD = """
import asyncio, psutil, sys
from sibyl_runtime.pipeline.context import Deadline, StepContext
from sibyl_runtime.techniques.load_documents import LoadDocuments
from sibyl_runtime.workspace import LoadDocumentsConfig

QUERY = "SELECT n AS id, repeat(md5(n::text), 100) AS text, n AS place FROM generate_series(1, {}) n"

async def load(rows):
    # How many documents came, and the most resident memory while they did.
    resident = psutil.Process().memory_info
    most = 0
    context = StepContext(None, "p", "load", {}, {}, Deadline.after(None))
    config = LoadDocumentsConfig(dsn=sys.argv[1], query=QUERY.format(rows), source="s")
    stream = (await LoadDocuments().run(context, config))["documents"]
    async for batch in stream.take():
        assert batch.size == 100
        most = max(most, resident().rss)
    return stream.count, most

_, before = asyncio.run(load(1_000))
count, most = asyncio.run(load(100_000))
print(count, (most - before) // 2**20)
"""
MOST = 40
"""MiB, for a batch and the ids of 100,000 documents, which tell what is gone from the source; the texts are 320 MB."""


def test_a_hundred_thousand_rows_are_read_in_bounded_memory(articles: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, articles], capture_output=True, text=True, check=True, timeout=100
    )
    read, grown = map(int, ended.stdout.split())
    assert read == 100_000
    assert grown < MOST, f"resident memory grew by {grown} MiB"
