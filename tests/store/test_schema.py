from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.schema import parse_version
from tests.store.samples import DIMENSION, TAG, axis, document, opened, provider
from tests.support.postgres import PostgresServer


def _sql(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def test_a_new_collection_gets_its_tables_and_its_row(database_dsn: str) -> None:
    store = await opened(database_dsn, distance_metric="euclidean", collection_name="manuals")
    counts = await store.counts()
    await store.close()
    assert (counts.documents, counts.chunks) == (0, 0)
    rows = _sql(
        database_dsn,
        "SELECT collection, dimension, embedder_tag, distance_metric, schema_version FROM sibyl_collections",
    )
    assert rows == [("manuals", DIMENSION, TAG, "euclidean", 3)]
    assert _sql(
        database_dsn,
        "SELECT format_type(atttypid, atttypmod), attstorage FROM pg_attribute"
        " WHERE attrelid = 'manuals_chunks'::regclass AND attname = 'embedding'",
    ) == [("halfvec(8)", "p")]


async def test_the_longest_name_fits_every_table_and_index(database_dsn: str) -> None:
    store = await opened(database_dsn, collection_name="c" * 41, index_type="hnsw")
    await store.replace([document("a", [axis(0)])])
    await store.ensure_index()
    assert (await store.index_state()).kind == "hnsw"
    await store.close()


async def test_eight_processes_may_start_at_once(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.create_database(template="template1")
    try:
        stores = await asyncio.gather(*(opened(dsn) for _ in range(8)))
        assert len({(await store.counts()).corpus_version for store in stores}) == 1
        await asyncio.gather(*(store.close() for store in stores))
    finally:
        postgres_server.drop_database(dsn)


async def test_opening_again_changes_nothing(database_dsn: str) -> None:
    first = await opened(database_dsn)
    await first.replace([document("a", [axis(0)])])
    before = await first.counts()
    await first.close()
    second = await opened(database_dsn)
    assert await second.counts() == before
    await second.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"dimension": 16},
            r"collection `documents` holds vectors of dimension 8, and the embedding model `model-a` makes dimension "
            r"16: set `providers\.vector_store\.<name>\.collection_name` to a new name and ingest again, or drop the "
            r"collection: DROP TABLE documents_chunks, documents_documents;",
        ),
        (
            {"tag": "model-b"},
            r"collection `documents` was embedded by `model-a`, and the configured model is `model-b`; their vectors "
            r"do not compare: set .*collection_name",
        ),
    ],
)
async def test_vectors_of_another_model_are_refused(database_dsn: str, change: dict[str, Any], message: str) -> None:
    await (await opened(database_dsn)).close()
    with pytest.raises(StartupError, match=message):
        await opened(database_dsn, **change)


async def test_a_configured_dimension_that_is_not_the_models_is_refused_before_connecting() -> None:
    settings = provider("postgresql://nobody@127.0.0.1:1/none", dimension=768)
    with pytest.raises(StartupError, match=r"dimension` is 768, and the embedding model `model-a` makes dimension 8"):
        await open_store(settings, dimension=8, tag=TAG, embedded_directory=None)


async def test_two_collections_share_a_database(database_dsn: str) -> None:
    first = await opened(database_dsn)
    second = await opened(database_dsn, collection_name="other", dimension=16, tag="model-b")
    await first.replace([document("a", [axis(0)])])
    assert (await first.counts()).documents == 1
    assert (await second.counts()).documents == 0
    await first.close()
    await second.close()


async def test_dropped_tables_start_a_collection_afresh_and_never_repeat_a_version(database_dsn: str) -> None:
    store = await opened(database_dsn)
    await store.replace([document("a", [axis(0)])])
    version = (await store.counts()).corpus_version
    await store.close()
    _sql(database_dsn, "DROP TABLE documents_chunks, documents_documents")
    store = await opened(database_dsn, dimension=16, tag="model-b")
    counts = await store.counts()
    await store.close()
    assert (counts.documents, counts.chunks) == (0, 0)
    assert counts.corpus_version > version


async def test_a_collection_that_was_dropped_whole_never_repeats_a_version_either(database_dsn: str) -> None:
    store = await opened(database_dsn)
    for number in range(5):
        await store.replace([document(f"d{number}", [axis(0)])])
    version = (await store.counts()).corpus_version
    await store.close()
    _sql(database_dsn, "DROP TABLE documents_chunks, documents_documents, sibyl_collections")
    store = await opened(database_dsn)
    assert (await store.counts()).corpus_version > version
    await store.close()


async def test_a_foreign_table_of_our_name_is_left_alone(database_dsn: str) -> None:
    _sql(database_dsn, "CREATE TABLE documents_chunks (precious text)")
    with pytest.raises(StartupError, match=r"documents_chunks.*choose another .*collection_name"):
        await opened(database_dsn)
    assert _sql(database_dsn, "SELECT to_regclass('documents_documents')") == [(None,)]


async def test_a_newer_schema_is_refused(database_dsn: str) -> None:
    await (await opened(database_dsn)).close()
    _sql(database_dsn, "UPDATE sibyl_collections SET schema_version = 9")
    with pytest.raises(StartupError, match=r"newer version of sibyl \(schema 9, known here: 3\)"):
        await opened(database_dsn)


async def test_an_older_schema_is_refused_with_the_ways_out(database_dsn: str) -> None:
    await (await opened(database_dsn)).close()
    _sql(database_dsn, "UPDATE sibyl_collections SET schema_version = 1")
    with pytest.raises(StartupError) as refused:
        await opened(database_dsn)
    assert str(refused.value) == (
        "collection `documents` was written by an earlier version of sibyl (schema 1, 2 is the oldest that is taken "
        "over): set "
        "`providers.vector_store.<name>.collection_name` to a new name and ingest again, or drop the collection: DROP "
        "TABLE documents_chunks, documents_documents;"
    )


async def test_another_metric_is_taken_over_and_moves_the_version(
    database_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(database_dsn)
    version = (await store.counts()).corpus_version
    await store.close()
    with caplog.at_level(logging.WARNING):
        store = await opened(database_dsn, distance_metric="dot_product")
    assert (await store.counts()).corpus_version > version
    await store.close()
    assert "now uses distance_metric dot_product" in caplog.text


@pytest.mark.parametrize(
    ("text", "numbers"), [("0.8.5", (0, 8, 5)), ("0.8", (0, 8)), ("1.0.0-rc1", (1, 0, 0)), ("0.10.2", (0, 10, 2))]
)
def test_versions_compare_as_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_version(text) == numbers


async def test_an_old_pgvector_is_refused_with_the_way_out(database_dsn: str) -> None:
    _sql(database_dsn, "UPDATE pg_extension SET extversion = '0.8.3' WHERE extname = 'vector'")
    with pytest.raises(StartupError, match=r"pgvector 0\.8\.3 is too old, 0\.8\.4.*ALTER EXTENSION vector UPDATE;"):
        await opened(database_dsn)


@pytest.mark.parametrize(("version", "warned"), [("0.8.5", True), ("0.8.6", False), ("0.9.0", False)])
async def test_an_ageing_pgvector_is_mentioned(
    database_dsn: str, caplog: pytest.LogCaptureFixture, version: str, warned: bool
) -> None:
    _sql(database_dsn, f"UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'vector'")
    with caplog.at_level(logging.WARNING, logger="sibyl_runtime.store.schema"):
        await (await opened(database_dsn)).close()
    assert ("0.8.6 or newer is advised" in caplog.text) is warned


@pytest.fixture
def plain_user(postgres_server: PostgresServer) -> Iterator[str]:
    """A role without any right."""
    _sql(postgres_server.dsn, "CREATE ROLE plain LOGIN PASSWORD 's3cret'")
    yield "plain"
    _sql(postgres_server.dsn, "DROP ROLE plain")


def _as_plain(server: PostgresServer, dsn: str) -> str:
    return server.dsn_of(urlsplit(dsn).path.lstrip("/"), user="plain", password="s3cret")


async def test_a_user_who_may_not_install_pgvector_is_told_what_the_administrator_runs(
    postgres_server: PostgresServer, plain_user: str
) -> None:
    dsn = postgres_server.create_database(template="template1")
    try:
        with pytest.raises(StartupError, match=r"as an administrator of the database run: CREATE EXTENSION vector;"):
            await opened(_as_plain(postgres_server, dsn))
    finally:
        postgres_server.drop_database(dsn)


async def test_a_user_who_may_not_create_tables_is_told_which_grant_is_missing(
    postgres_server: PostgresServer, database_dsn: str, plain_user: str
) -> None:
    with pytest.raises(StartupError, match=r'GRANT CREATE ON SCHEMA public TO "plain";'):
        await opened(_as_plain(postgres_server, database_dsn))
    _sql(database_dsn, "GRANT CREATE ON SCHEMA public TO plain")
    await (await opened(_as_plain(postgres_server, database_dsn))).close()
    _sql(database_dsn, "DROP OWNED BY plain")


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("postgresql://app:s3cret@127.0.0.1:1/sibyl", ["host 127.0.0.1", "port 1", "database sibyl", "user app"]),
        ("postgresql://app:s3cret@no-such-host.invalid/sibyl", ["host no-such-host.invalid", "port 5432"]),
        ("host=/nonexistent user=app password=s3cret dbname=sibyl", ["host /nonexistent", "No such file"]),
    ],
)
async def test_an_unreachable_database_is_named_without_its_password(dsn: str, says: list[str]) -> None:
    with pytest.raises(StartupError) as refused:
        await opened(dsn)
    for part in (*says, "cannot connect to PostgreSQL at", "providers.vector_store.<name>.dsn"):
        assert part in refused.value.message
    assert "s3cret" not in refused.value.message


async def test_a_wrong_password_and_a_missing_database_are_told_apart(
    postgres_server: PostgresServer, plain_user: str
) -> None:
    with pytest.raises(StartupError, match="password authentication failed"):
        await opened(postgres_server.dsn_of("postgres", user="plain", password="wrong"))
    with pytest.raises(StartupError, match='database "absent" does not exist'):
        await opened(postgres_server.dsn_of("absent"))
