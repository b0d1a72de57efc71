"""The approximate index of a collection: which one it should have, which one it has, and the way from one to the other.

A new index is built beside the old one and CONCURRENTLY: readers and writers go on, and there is no moment without an
index. An index that a killed build left invalid is dropped.
"""

from __future__ import annotations

import contextlib
import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.ingest import recount
from sibyl_runtime.store.routing import EXACT_ROWS
from sibyl_runtime.store.turns import turn
from sibyl_runtime.store.words import refresh_frequencies
from sibyl_runtime.workspace import VectorStoreProvider

logger = logging.getLogger(__name__)

_DEFAULT_OPTIONS = {"hnsw": {"m": 16, "ef_construction": 64}, "ivfflat": {"lists": 100}}
_MEMORY_FLOOR = 64 * 1024 * 1024
# The server's memory is not ours to know. A build that does not fit is slower, not wrong.
_MEMORY_CEILING = 1024 * 1024 * 1024


@dataclass(frozen=True)
class IndexSpec:
    """An index as it should be. `tolerant`: the number of lists follows the row count, and may lag behind by half."""

    kind: str
    operator_class: str
    options: Mapping[str, int]
    tolerant: bool = False


@dataclass(frozen=True)
class IndexState:
    """An index as it is; `kind` is "none" without one. `rows` is the collection's, `size_bytes` the index's."""

    kind: str
    rows: int
    valid: bool
    parameters: Mapping[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    name: str = ""
    operator_class: str = ""
    remark: str = ""
    """Why it is not the index that was asked for; empty when it is."""


def desired_index(provider: VectorStoreProvider, collection: Collection, rows: int) -> IndexSpec | None:
    """The index that settings and size ask for; None for none, as for a store that searches elsewhere."""
    if provider.kind != "pgvector":
        return None
    kind = provider.index_type
    if kind == "auto":
        kind = "hnsw" if rows >= EXACT_ROWS else "none"
    operator_class = collection.metric.operator_class
    if kind == "hnsw":
        options = {"m": provider.hnsw_m, "ef_construction": provider.hnsw_ef_construction}
        return IndexSpec("hnsw", operator_class, options)
    if kind == "ivfflat":
        lists = provider.lists or lists_for(rows)
        return IndexSpec("ivfflat", operator_class, {"lists": lists}, tolerant=provider.lists is None)
    return None


def lists_for(rows: int) -> int:
    """pgvector's advice: a thousandth of the rows up to a million, the square root beyond."""
    return max(1, rows // 1_000 if rows <= 1_000_000 else round(rows**0.5))


def fits(spec: IndexSpec, found: IndexState) -> bool:
    """Whether the index found serves as the one wanted."""
    if not found.valid or (found.kind, found.operator_class) != (spec.kind, spec.operator_class):
        return False
    if spec.tolerant:
        # Centroids do not move: past half of a change in size they no longer describe the data.
        built, wanted = found.parameters["lists"], spec.options["lists"]
        return abs(built - wanted) <= max(built, 2) / 2
    return dict(found.parameters) == dict(spec.options)


def build_memory(spec: IndexSpec, collection: Collection, rows: int) -> int:
    """Bytes of maintenance_work_mem that hold the build. An HNSW build that gets less is slow, an IVFFlat one fails."""
    if spec.kind == "hnsw":
        measured = rows * (collection.vector_bytes + 190 + 32.3 * spec.options["m"])
        return int(min(max(1.1 * measured, _MEMORY_FLOOR), _MEMORY_CEILING))
    # Elkan's k-means over 50 samples per list: the samples, a bound per sample and list, distances between lists.
    lists = spec.options["lists"]
    samples = max(50 * lists, 10_000)
    need = (samples + 4 * lists) * collection.vector_bytes + 4 * samples * (lists + 2) + 8 * lists * lists
    return int(max(1.1 * need, _MEMORY_FLOOR))


def index_name(spec: IndexSpec, collection: Collection) -> str:
    """Says what it is made of, so that two shapes can stand side by side while one replaces the other."""
    shape = f"{spec.kind} {spec.operator_class} {sorted(spec.options.items())}"
    return f"{collection.index_prefix}{zlib.crc32(shape.encode()):08x}"


async def observe(connection: Connection, collection: Collection) -> list[IndexState]:
    """Every vector index on the collection's embeddings, also those that somebody else made."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT am.amname, r.chunks, i.indisvalid AND i.indisready, c.reloptions, pg_relation_size(c.oid),"
            " c.relname, o.opcname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am am ON am.oid = c.relam JOIN pg_opclass o ON o.oid = i.indclass[0]"
            " JOIN sibyl_collections r ON r.collection = %s"
            " WHERE i.indrelid = to_regclass({}) AND am.amname IN ('hnsw', 'ivfflat')"
        ).format(sql.Literal(collection.chunks.as_string())),
        [collection.name],
    )
    return [
        IndexState(kind, rows, valid, _parameters(kind, options), size, name, operator_class)
        for kind, rows, valid, options, size, name, operator_class in await cursor.fetchall()
    ]


def usable(indexes: list[IndexState], collection: Collection) -> IndexState | None:
    """The index that a search of this collection's metric uses."""
    matching = [index for index in indexes if index.valid and index.operator_class == collection.metric.operator_class]
    return max(matching, key=lambda index: (index.kind == "hnsw", index.name), default=None)


def _parameters(kind: str, options: list[str] | None) -> dict[str, int]:
    given = dict(option.split("=", 1) for option in options or [])
    return {name: int(given.get(name, default)) for name, default in _DEFAULT_OPTIONS[kind].items()}


async def prepare_session(connection: Connection) -> None:
    """Make a connection fit for a build that may take an hour, and that ends when its builder does."""
    await connection.execute("SET statement_timeout = 0")
    # Not on every system: there, the build of a builder that was killed runs to its end.
    with contextlib.suppress(psycopg.Error):
        await connection.execute("SET client_connection_check_interval = '1s'")


async def ensure(connection: Connection, collection: Collection, provider: VectorStoreProvider) -> None:
    """Bring the index to what settings and size ask for. `connection` is not of the pool, without a statement timeout.

    Two processes take turns; the second finds the work done.
    """
    async with turn(connection, f"index {collection.name}"):
        rows = await recount(connection, collection)
        await _refresh_statistics(connection, collection, rows)
        await refresh_frequencies(connection, collection, rows)
        if not provider.create_index:
            return
        spec = desired_index(provider, collection, rows)
        for index in await observe(connection, collection):
            if _is_ours(index, collection) and _is_in_the_way(index, spec, collection):
                await _drop(connection, index)
        found = await observe(connection, collection)
        serving = next((index for index in found if spec is not None and fits(spec, index)), None)
        if spec is not None and serving is None:
            await _build(connection, collection, spec, rows)
            serving = IndexState(spec.kind, rows, True, name=index_name(spec, collection))
        for index in found:
            if _is_ours(index, collection) and (serving is None or index.name != serving.name):
                await _drop(connection, index)


def _is_ours(index: IndexState, collection: Collection) -> bool:
    return index.name.startswith(collection.index_prefix)


def _is_in_the_way(index: IndexState, spec: IndexSpec | None, collection: Collection) -> bool:
    """Invalid, or under the name that the new one needs although somebody altered it."""
    return not index.valid or (
        spec is not None and index.name == index_name(spec, collection) and not fits(spec, index)
    )


async def _refresh_statistics(connection: Connection, collection: Collection, rows: int) -> None:
    """The planner must know the size after a load; autovacuum would tell it a minute later."""
    cursor = await connection.execute(
        sql.SQL("SELECT reltuples FROM pg_class WHERE oid = to_regclass({})").format(
            sql.Literal(collection.chunks.as_string())
        )
    )
    row = await cursor.fetchone()
    known = float(row[0]) if row is not None else -1.0
    if rows and abs(known - rows) > 0.1 * rows:
        await connection.execute(sql.SQL("ANALYZE {}, {}").format(collection.chunks, collection.documents))


async def _build(connection: Connection, collection: Collection, spec: IndexSpec, rows: int) -> None:
    started = time.monotonic()
    memory = build_memory(spec, collection, rows)
    await connection.execute(f"SET maintenance_work_mem = '{memory // 1024}kB'".encode())
    connection.add_notice_handler(_log_notice)
    try:
        await _create(connection, collection, spec)
    except psycopg.errors.DiskFull:
        # A parallel build shares its memory through /dev/shm, and containers often have 64 MB there.
        logger.warning("no room in shared memory for a parallel index build: building with one process")
        for index in await observe(connection, collection):
            if index.name == index_name(spec, collection):
                await _drop(connection, index)
        await connection.execute("SET max_parallel_maintenance_workers = 0")
        await _create(connection, collection, spec)
    finally:
        connection.remove_notice_handler(_log_notice)
    logger.info(
        "built %s index of collection %s over %d chunks in %.1f s",
        spec.kind,
        collection.name,
        rows,
        time.monotonic() - started,
    )


async def _create(connection: Connection, collection: Collection, spec: IndexSpec) -> None:
    options = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in spec.options.items()
    )
    await connection.execute(
        sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} USING {} (embedding {}) WITH ({})").format(
            sql.Identifier(index_name(spec, collection)),
            collection.chunks,
            sql.Identifier(spec.kind),
            sql.Identifier(spec.operator_class),
            options,
        )
    )


async def _drop(connection: Connection, index: IndexState) -> None:
    await connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(index.name)))


def _log_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
    # pgvector tells here after how many rows a graph no longer fits into memory.
    logger.warning("index build: %s", diagnostic.message_primary)
