"""Reading a collection's vectors out of PostgreSQL: all of them, or those that changed. In slices, of one snapshot.

Ids grow with every row stored and are never used again, and writers of a collection take turns: what is new has ids
above the highest known one. What was removed shows in the number of rows; then the ids of all rows are compared, at 8
bytes a row. Rows put in or taken out by hand are found in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql
from psycopg.types.numeric import Int8

from sibyl_runtime.errors import DatabaseUnavailable
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.faiss_index import Halves, Ids
from sibyl_runtime.store.schema import REGISTRY

# Rows that are fetched at once: their decoding keeps the event loop for a few milliseconds.
_FETCHED = 500
_BELOW_ALL = -(2**63)


class Head(NamedTuple):
    """A collection at one moment. `table` changes when the table is made anew, emptied at once or rewritten."""

    version: int
    chunks: int
    table: int


@dataclass(frozen=True)
class Vectors:
    """Rows by id, `vectors` of shape (rows, dimension), under the collection's `head`."""

    head: Head
    ids: Ids
    vectors: Halves


@dataclass(frozen=True)
class Changes:
    """What changed up to `head`: rows that came, and ids that went."""

    head: Head
    ids: Ids
    vectors: Halves
    gone: Ids


async def read_head(connection: Connection, collection: Collection) -> Head:
    """Raises DatabaseUnavailable when the collection is no longer there."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT corpus_version, chunks, pg_relation_filenode(to_regclass({})) FROM {} WHERE collection = %s"
        ).format(sql.Literal(collection.chunks.as_string()), REGISTRY),
        [collection.name],
    )
    row = await cursor.fetchone()
    if row is None or row[2] is None:
        raise DatabaseUnavailable(f"collection `{collection.name}` is no longer there: restart to create it anew")
    return Head(*row)


async def read_all(connection: Connection, collection: Collection) -> Vectors:
    """Every row."""
    async with _snapshot(connection):
        head = await read_head(connection, collection)
        ids, vectors = await _above(connection, collection, _BELOW_ALL)
    return Vectors(head, ids, vectors)


async def read_changes(connection: Connection, collection: Collection, known: Ids, head: Head) -> Changes | None:
    """What changed since `head`, when the rows `known` (sorted) were there; None when all must be read anew."""
    async with _snapshot(connection):
        now = await read_head(connection, collection)
        if now.table != head.table:
            return None
        if now.version == head.version:
            return Changes(now, *_nothing(collection), gone=np.empty(0, np.int64))
        ids, vectors = await _above(connection, collection, int(known[-1]) if len(known) else _BELOW_ALL)
        gone = np.empty(0, np.int64)
        if len(known) + len(ids) != now.chunks:
            there = await _all_ids(connection, collection)
            gone, missing = await asyncio.to_thread(_differences, there, known, ids)
            if len(missing):
                # Put in by hand, with ids below those that were known.
                more_ids, more = await _of(connection, collection, missing)
                ids, vectors = np.concatenate([ids, more_ids]), np.concatenate([vectors, more])
    return Changes(now, ids, vectors, gone)


def _differences(there: Ids, known: Ids, read: Ids) -> tuple[Ids, Ids]:
    """Ids that were known and are gone; ids that are there and neither known nor read."""
    gone = np.setdiff1d(known, there, assume_unique=True)
    return gone, np.setdiff1d(np.setdiff1d(there, known, assume_unique=True), read, assume_unique=True)


@contextlib.asynccontextmanager
async def _snapshot(connection: Connection) -> AsyncIterator[None]:
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


async def _above(connection: Connection, collection: Collection, after: int) -> tuple[Ids, Halves]:
    statement = sql.SQL("SELECT id, halfvec_send(embedding) FROM {} WHERE id > %s ORDER BY id LIMIT {}").format(
        collection.chunks, sql.Literal(_FETCHED)
    )
    parts = [_nothing(collection)]
    while True:
        cursor = await connection.execute(statement, [Int8(after)], binary=True)
        rows = await cursor.fetchall()
        if not rows:
            break
        parts.append(_decoded(rows, collection))
        after = rows[-1][0]
        if len(rows) < _FETCHED:
            break
    return await asyncio.to_thread(_joined, parts)


async def _of(connection: Connection, collection: Collection, wanted: Ids) -> tuple[Ids, Halves]:
    statement = sql.SQL("SELECT id, halfvec_send(embedding) FROM {} WHERE id = ANY(%s::bigint[])").format(
        collection.chunks
    )
    parts = [_nothing(collection)]
    for start in range(0, len(wanted), _FETCHED):
        some = [Int8(id_) for id_ in wanted[start : start + _FETCHED].tolist()]
        rows = await (await connection.execute(statement, [some], binary=True)).fetchall()
        if rows:
            parts.append(_decoded(rows, collection))
    return await asyncio.to_thread(_joined, parts)


async def _all_ids(connection: Connection, collection: Collection) -> Ids:
    """Sorted. As one value: a row each would cost a thousand times the time here."""
    cursor = await connection.execute(
        sql.SQL("SELECT coalesce(string_agg(int8send(id), ''::bytea), ''::bytea) FROM {}").format(collection.chunks),
        binary=True,
    )
    row = await cursor.fetchone()
    packed = bytes(row[0]) if row is not None else b""
    return np.sort(np.frombuffer(packed, dtype=">i8").astype(np.int64))


def _joined(parts: list[tuple[Ids, Halves]]) -> tuple[Ids, Halves]:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([vectors for _, vectors in parts])


def _nothing(collection: Collection) -> tuple[Ids, Halves]:
    return np.empty(0, np.int64), np.empty((0, collection.dimension), np.float16)


def _decoded(rows: list[tuple[Any, ...]], collection: Collection) -> tuple[Ids, Halves]:
    """pgvector sends a halfvec as two numbers of 16 bits, the dimension and 0, and then its numbers."""
    form = np.dtype([("head", ">i2", 2), ("numbers", ">f2", collection.dimension)])
    packed = np.frombuffer(b"".join(bytes(row[1]) for row in rows), dtype=form)
    return np.array([row[0] for row in rows], dtype=np.int64), packed["numbers"].astype(np.float16)
