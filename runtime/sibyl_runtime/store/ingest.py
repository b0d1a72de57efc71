"""Writing documents: each batch is one transaction, so a reader sees a document as it was or as it is, never half.

COPY BINARY carries the rows: on this path text COPY and INSERT are several times slower.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from pgvector import HalfVector
from psycopg import sql
from psycopg.types.json import Jsonb

from sibyl_runtime.errors import DatabaseUnavailable, IngestError
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.records import EVERY_ID, EmbeddedDocument, IdRange
from sibyl_runtime.store.schema import NEXT_VERSION, REGISTRY

# A btree entry is limited to a third of a page; longer ids would fail inside the database.
LONGEST_ID = 1_000
_ROWS_PER_TURN = 500


@dataclass(frozen=True)
class PreparedDocument:
    """A document checked and encoded: nothing in it can fail inside the transaction for its own sake."""

    embedded: EmbeddedDocument
    metadata: bytes
    vectors: npt.NDArray[np.float16]


def prepare_documents(documents: Sequence[EmbeddedDocument], collection: Collection) -> list[PreparedDocument]:
    """Check and encode. Raises IngestError naming the document and what is wrong with it."""
    keys = [(document.document.id, document.document.source) for document in documents]
    if len(set(keys)) != len(keys):
        twice = next(key[0] for index, key in enumerate(keys) if key in keys[:index])
        raise IngestError(f"two documents of one batch have the id `{twice}`; ids must be unique in a source")
    return [_prepare(document, collection) for document in documents]


def _prepare(embedded: EmbeddedDocument, collection: Collection) -> PreparedDocument:
    document = embedded.document
    if not document.id or len(document.id.encode("utf-8", "replace")) > LONGEST_ID:
        raise _refused(document.id[:80], f"its id must have 1 to {LONGEST_ID} bytes")
    if not document.source or len(document.source.encode("utf-8", "replace")) > LONGEST_ID:
        raise _refused(
            document.id,
            f"its source must have 1 to {LONGEST_ID} bytes; name a shorter one in `source` of data.load_documents",
        )
    for name, text in (("id", document.id), ("title", document.title), ("source", document.source)):
        _check_text(document.id, name, text)
    for chunk in embedded.chunks:
        _check_text(document.id, f"chunk {chunk.ordinal}", chunk.content)
        _check_text(document.id, f"heading of chunk {chunk.ordinal}", chunk.heading)
    return PreparedDocument(embedded, _metadata(document.id, document.metadata), _vectors(embedded, collection))


def _vectors(embedded: EmbeddedDocument, collection: Collection) -> npt.NDArray[np.float16]:
    expected = (len(embedded.chunks), collection.dimension)
    if embedded.vectors.shape != expected:
        raise _refused(embedded.document.id, f"its vectors have shape {embedded.vectors.shape}, expected {expected}")
    with np.errstate(over="ignore"):
        vectors = embedded.vectors.astype(np.float16)
    if not np.isfinite(vectors).all():
        raise _refused(embedded.document.id, "a vector holds a number that is not finite in half precision")
    if collection.metric.name == "cosine" and not vectors.any(axis=1).all():
        raise _refused(embedded.document.id, "a vector is zero, which has no cosine distance")
    return vectors


def _metadata(document_id: str, metadata: Mapping[str, Any]) -> bytes:
    try:
        encoded = orjson.dumps(dict(metadata), option=orjson.OPT_NON_STR_KEYS)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise _refused(document_id, f"its metadata cannot be stored as JSON: {error}") from error
    if rb"\u0000" in encoded and holds_nul(metadata):
        raise _refused(document_id, "its metadata holds a NUL character")
    return encoded


def holds_nul(value: object) -> bool:
    """Whether any text in a JSON-like value holds U+0000, which PostgreSQL cannot store."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        return any(holds_nul(key) or holds_nul(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(holds_nul(item) for item in value)
    return False


def _check_text(document_id: str, what: str, text: str) -> None:
    if "\x00" in text:
        raise _refused(document_id, f"{what} holds a NUL character, which PostgreSQL cannot store")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refused(document_id, f"{what} is not valid Unicode: {error.reason}") from error


def _refused(document_id: str, reason: str) -> IngestError:
    return IngestError(f"document `{document_id}` cannot be stored: {reason}", details={"document": document_id})


async def replace(connection: Connection, collection: Collection, documents: Sequence[PreparedDocument]) -> int:
    """One transaction: former rows out, new rows in, version and counts moved on. Chunks written."""
    keys = [(document.embedded.document.id, document.embedded.document.source) for document in documents]
    async with connection.transaction():
        await _take_turn(connection, collection)
        chunks_gone = await _delete(connection, collection.chunks, "document_id", keys)
        documents_gone = await _delete(connection, collection.documents, "id", keys)
        await _copy_documents(connection, collection, documents)
        written = await _copy_chunks(connection, collection, documents)
        await _count(connection, collection, len(documents) - documents_gone, written - chunks_gone)
    return written


async def remove_missing(
    connection: Connection, collection: Collection, source: str, present: Sequence[str], within: IdRange = EVERY_ID
) -> int:
    """One transaction; documents removed. The version moves on only when there were any."""
    async with connection.transaction():
        await _take_turn(connection, collection)
        # A hash anti-join: `<> ALL (array)` may compare every row with every id. COLLATE "C": in UTF-8 the order of
        # bytes is that of code points, whatever the database's own collation.
        cursor = await connection.execute(
            sql.SQL(
                "WITH gone AS (SELECT id FROM {documents} d WHERE source = %(source)s"
                ' AND (%(after)s::text IS NULL OR id > %(after)s COLLATE "C")'
                ' AND (%(through)s::text IS NULL OR id <= %(through)s COLLATE "C")'
                " AND NOT EXISTS"
                " (SELECT FROM unnest(%(present)s::text[]) AS present (id) WHERE present.id = d.id)),"
                " chunks_gone AS (DELETE FROM {chunks} WHERE source = %(source)s AND document_id IN"
                " (SELECT id FROM gone) RETURNING 1)"
                " SELECT array(SELECT id FROM gone), (SELECT count(*) FROM chunks_gone)"
            ).format(documents=collection.documents, chunks=collection.chunks),
            {"source": source, "after": within.after, "through": within.through, "present": list(present)},
        )
        row = await cursor.fetchone()
        gone, chunks_gone = row if row is not None else ([], 0)
        if gone:
            await _delete(connection, collection.documents, "id", [(id_, source) for id_ in gone])
            await _count(connection, collection, -len(gone), -chunks_gone)
    return len(gone)


async def recount(connection: Connection, collection: Collection) -> int:
    """Set the registry right after rows were changed by hand; chunks now."""
    async with connection.transaction():
        documents, chunks = await _take_turn(connection, collection)
        cursor = await connection.execute(
            sql.SQL("SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})").format(
                collection.documents, collection.chunks
            )
        )
        row = await cursor.fetchone()
        found = (int(row[0]), int(row[1])) if row is not None else (0, 0)
        if found != (documents, chunks):
            await _count(connection, collection, found[0] - documents, found[1] - chunks)
    return found[1]


async def _take_turn(connection: Connection, collection: Collection) -> tuple[int, int]:
    """Writers queue here; readers do not. A load may take longer than a statement of a request."""
    await connection.execute("SET LOCAL statement_timeout = 0")
    cursor = await connection.execute(
        sql.SQL("SELECT documents, chunks FROM {} WHERE collection = %s FOR UPDATE").format(REGISTRY),
        [collection.name],
    )
    row = await cursor.fetchone()
    if row is None:
        raise DatabaseUnavailable(
            f"collection `{collection.name}` is no longer registered in sibyl_collections: restart to create it anew"
        )
    return int(row[0]), int(row[1])


async def _delete(
    connection: Connection, table: sql.Identifier, id_column: str, keys: Sequence[tuple[str, str]]
) -> int:
    """Delete the rows of these documents; `keys` are pairs of id and source."""
    statement = sql.SQL(
        "DELETE FROM {table} t USING unnest(%s::text[], %s::text[]) AS key (id, source)"
        " WHERE t.{id_column} = key.id AND t.source = key.source"
    ).format(table=table, id_column=sql.Identifier(id_column))
    cursor = await connection.execute(statement, [[id_ for id_, _ in keys], [source for _, source in keys]])
    return cursor.rowcount


async def _count(connection: Connection, collection: Collection, documents: int, chunks: int) -> None:
    await connection.execute(
        sql.SQL("UPDATE {} SET {}, documents = documents + %s, chunks = chunks + %s WHERE collection = %s").format(
            REGISTRY, NEXT_VERSION
        ),
        [documents, chunks, collection.name],
    )


async def _copy_documents(
    connection: Connection, collection: Collection, documents: Sequence[PreparedDocument]
) -> None:
    statement = sql.SQL("COPY {} (id, source, title, fingerprint, metadata) FROM STDIN (FORMAT BINARY)")
    async with connection.cursor() as cursor, cursor.copy(statement.format(collection.documents)) as copy:
        copy.set_types(["text", "text", "text", "text", "jsonb"])
        for prepared in documents:
            document = prepared.embedded.document
            await copy.write_row(
                (document.id, document.source, document.title, prepared.embedded.fingerprint, _jsonb(prepared))
            )


async def _copy_chunks(connection: Connection, collection: Collection, documents: Sequence[PreparedDocument]) -> int:
    statement = sql.SQL(
        "COPY {} (document_id, source, ordinal, heading, content, tokens, embedding, metadata)"
        " FROM STDIN (FORMAT BINARY)"
    )
    written = 0
    async with connection.cursor() as cursor, cursor.copy(statement.format(collection.chunks)) as copy:
        copy.set_types(["text", "text", "int4", "text", "text", "int4", "halfvec", "jsonb"])
        for prepared in documents:
            metadata, document = _jsonb(prepared), prepared.embedded.document
            for chunk, vector in zip(prepared.embedded.chunks, prepared.vectors, strict=True):
                await copy.write_row(
                    (document.id, document.source, chunk.ordinal, chunk.heading, chunk.content, chunk.tokens,
                     HalfVector(vector), metadata)
                )  # fmt: skip
                written += 1
                if written % _ROWS_PER_TURN == 0:
                    # write_row seldom waits: without this a large load keeps requests of this process waiting.
                    await asyncio.sleep(0)
    return written


def _jsonb(prepared: PreparedDocument) -> Jsonb:
    """The metadata as encoded once, however many chunks carry it."""
    return Jsonb(prepared.metadata, dumps=_as_is)


def _as_is(encoded: Any) -> bytes:
    return bytes(encoded)
