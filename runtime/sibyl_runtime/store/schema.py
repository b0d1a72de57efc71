"""Tables of a collection, and the registry that says what each collection holds.

`sibyl_collections` has one row per collection. Its row lock makes writers of a collection take turns, and its counts
are kept in the same transactions as the rows they count: exact, and one row to read.
`corpus_version` is the time of the last change in milliseconds, or one more than before where that is not later: a
collection that is dropped and made again, or restored from a backup, must never repeat a version, because cached
answers carry it in their key.
"""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

import psycopg
from psycopg import sql

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store import words
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.failures import Endpoint, cause
from sibyl_runtime.store.turns import turn

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 3
# Version 3 added the full text, which is made from the chunks of version 2.
_OLDEST_MIGRATED = 2
_REGISTRY_NAME = "sibyl_collections"
_NOW = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
NEXT_VERSION = sql.SQL(f"corpus_version = greatest(corpus_version + 1, {_NOW})")
"""Sets the version of a change."""
REGISTRY = sql.Identifier(_REGISTRY_NAME)
# 0.8.3 repaired index corruption by vacuum, 0.8.4 its own vacuum error; 0.8.6 the memory of IVFFlat scans.
OLDEST_VECTOR = (0, 8, 4)
ADVISED_VECTOR = (0, 8, 6)
# One lock for the whole database: CREATE EXTENSION and CREATE TABLE of two starting pods collide otherwise.
_SCHEMA_LOCK = 0x5349_4259_4C01
# Beyond this a row with an inline vector may not fit a page.
_INLINE_DIMENSIONS = 2_000


class Registered(NamedTuple):
    """A collection's row in the registry."""

    dimension: int
    tag: str
    metric: str
    schema_version: int
    tables_exist: bool


async def prepare(
    connection: Connection, collection: Collection, endpoint: Endpoint, *, embedded: bool = False
) -> None:
    """Bring the database to where `collection` can be used; safe when several processes do it at once.

    The version of an `embedded` pgvector is not its user's to change, and is not remarked upon.
    Raises StartupError: pgvector missing or too old, rights missing, or the collection holds other vectors.
    """
    try:
        await _prepare_extension(connection, advise=not embedded)
        registered = await _registered(connection, collection)
        if registered is None or not registered.tables_exist:
            registered = await _create(connection, collection)
        _check_fit(collection, registered)
        if registered.schema_version < SCHEMA_VERSION or not await words.ready(connection, collection):
            await _migrate(connection, collection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise StartupError(
            f"{endpoint} may not create the tables of collection `{collection.name}`: {cause(error)}; as an "
            f'administrator run in database {endpoint.database}: GRANT CREATE ON SCHEMA public TO "{endpoint.user}";'
        ) from error
    except psycopg.errors.DuplicateTable as error:
        raise StartupError(
            f"{endpoint} has a table of the name that collection `{collection.name}` needs, and it is not ours "
            f"({cause(error)}): choose another `providers.vector_store.<name>.collection_name`"
        ) from error
    except psycopg.Error as error:
        raise StartupError(f"{endpoint} cannot hold collection `{collection.name}`: {cause(error)}") from error
    if registered.metric != collection.metric.name:
        await _change_metric(connection, collection)


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version: "0.8.5" is (0, 8, 5)."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


async def _prepare_extension(connection: Connection, *, advise: bool) -> None:
    version = await _extension_version(connection)
    if version is None:
        version = await _create_extension(connection)
    found = parse_version(version)
    if found < OLDEST_VECTOR:
        raise StartupError(
            f"pgvector {version} is too old, {_text(OLDEST_VECTOR)} is the oldest that can be used (earlier ones "
            "corrupt HNSW indexes during vacuum): install a newer one, then run as an administrator: "
            "ALTER EXTENSION vector UPDATE;"
        )
    if advise and found < ADVISED_VECTOR:
        logger.warning("pgvector %s works, but %s or newer is advised", version, _text(ADVISED_VECTOR))


async def _extension_version(connection: Connection) -> str | None:
    cursor = await connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    row = await cursor.fetchone()
    return str(row[0]) if row else None


async def _create_extension(connection: Connection) -> str:
    try:
        async with connection.transaction():
            await _lock_schema(connection)
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.errors.InsufficientPrivilege as error:
        raise StartupError(
            "the extension pgvector is not installed in this database, and this user may not install it: as an "
            "administrator of the database run: CREATE EXTENSION vector;"
        ) from error
    except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported) as error:
        raise StartupError(
            f"the database server has no pgvector ({cause(error)}): install pgvector {_text(OLDEST_VECTOR)} or newer "
            "on the server, or use an image that carries it"
        ) from error
    version = await _extension_version(connection)
    if version is None:
        raise StartupError("CREATE EXTENSION vector had no effect in this database")
    return version


async def _lock_schema(connection: Connection) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEMA_LOCK])


async def _registered(connection: Connection, collection: Collection) -> Registered | None:
    tables = {f"{collection.name}_documents", f"{collection.name}_chunks"}
    existing = await _existing(connection, {_REGISTRY_NAME, *tables})
    if _REGISTRY_NAME not in existing:
        return None
    cursor = await connection.execute(
        sql.SQL("SELECT dimension, embedder_tag, distance_metric, schema_version FROM {} WHERE collection = %s").format(
            REGISTRY
        ),
        [collection.name],
    )
    row = await cursor.fetchone()
    return Registered(row[0], row[1], row[2], row[3], tables <= existing) if row else None


async def _existing(connection: Connection, tables: set[str]) -> set[str]:
    # Not to_regclass: inside a transaction it answers from a cache that may be older than the lock just taken.
    cursor = await connection.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind IN ('r', 'p') AND pg_table_is_visible(oid)",
        [list(tables)],
    )
    return {name for (name,) in await cursor.fetchall()}


async def _create(connection: Connection, collection: Collection) -> Registered:
    async with connection.transaction():
        await _lock_schema(connection)
        registered = await _registered(connection, collection)
        if registered is not None and registered.tables_exist:
            return registered
        await connection.execute(_REGISTRY_TABLE)
        for statement in _collection_tables(collection):
            await connection.execute(statement)
        await words.create(connection, collection, anew=True)
        # A row without its tables: somebody dropped them to start afresh.
        await connection.execute(
            sql.SQL(
                "INSERT INTO {registry} (collection, dimension, embedder_tag, distance_metric, schema_version)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (collection) DO UPDATE SET"
                " dimension = excluded.dimension, embedder_tag = excluded.embedder_tag,"
                " distance_metric = excluded.distance_metric, schema_version = excluded.schema_version,"
                " documents = 0, chunks = 0,"
                " corpus_version = greatest({registry}.corpus_version + 1, excluded.corpus_version)"
            ).format(registry=REGISTRY),
            [collection.name, collection.dimension, collection.tag, collection.metric.name, SCHEMA_VERSION],
        )
    return Registered(collection.dimension, collection.tag, collection.metric.name, SCHEMA_VERSION, True)


async def _migrate(connection: Connection, collection: Collection) -> None:
    """Add the full text to a collection that has none. Processes take turns; the second finds the work done.

    Chunks are read in short transactions and never rewritten: other processes search and load meanwhile. An end
    halfway leaves the old version in the registry, and the next start goes on from there.
    """
    async with turn(connection, f"full text {collection.name}"):
        registered = await _registered(connection, collection)
        if registered is None or (
            registered.schema_version == SCHEMA_VERSION and await words.ready(connection, collection)
        ):
            return
        logger.info("collection %s gets its full text, for keyword and hybrid search", collection.name)
        async with connection.transaction():
            await _lock_schema(connection)
            await words.create(connection, collection, anew=False)
            # Not at its version until the last row is there, also when it had been.
            await _set_version(connection, collection, SCHEMA_VERSION - 1)
        await words.fill(connection, collection)
        await words.refresh_frequencies(connection, collection, await _chunks(connection, collection))
        await _set_version(connection, collection, SCHEMA_VERSION)


async def _set_version(connection: Connection, collection: Collection, version: int) -> None:
    """The corpus version moves on too: a read replica without these rows is passed over, and no answer is kept that
    was found without them."""
    await connection.execute(
        sql.SQL("UPDATE {} SET schema_version = %s, {} WHERE collection = %s").format(REGISTRY, NEXT_VERSION),
        [version, collection.name],
    )


async def _chunks(connection: Connection, collection: Collection) -> int:
    cursor = await connection.execute(
        sql.SQL("SELECT chunks FROM {} WHERE collection = %s").format(REGISTRY), [collection.name]
    )
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


_REGISTRY_TABLE = sql.SQL(
    "CREATE TABLE IF NOT EXISTS {} ("
    " collection text PRIMARY KEY, dimension integer NOT NULL, embedder_tag text NOT NULL,"
    " distance_metric text NOT NULL, schema_version integer NOT NULL,"
    f" corpus_version bigint NOT NULL DEFAULT {_NOW},"
    " documents bigint NOT NULL DEFAULT 0, chunks bigint NOT NULL DEFAULT 0,"
    " created_at timestamptz NOT NULL DEFAULT now()"
    # Every commit of a load updates this row; room on its page keeps that from bloating the table.
    ") WITH (fillfactor = 50)"
).format(REGISTRY)


def _collection_tables(collection: Collection) -> list[sql.Composed]:
    names = {
        "documents": collection.documents,
        "chunks": collection.chunks,
        "metadata_index": sql.Identifier(f"{collection.name}_metadata"),
        "dimension": sql.Literal(collection.dimension),
    }
    statements = [
        "CREATE TABLE {documents} (id text, source text, title text NOT NULL, fingerprint text NOT NULL,"
        " metadata jsonb NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id, source))",
        "CREATE TABLE {chunks} (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,"
        " document_id text NOT NULL, source text NOT NULL, ordinal integer NOT NULL,"
        " heading text NOT NULL, content text NOT NULL, tokens integer NOT NULL,"
        " embedding halfvec({dimension}) NOT NULL, metadata jsonb NOT NULL, UNIQUE (document_id, source, ordinal),"
        " FOREIGN KEY (document_id, source) REFERENCES {documents} ON DELETE CASCADE)",
        # Dead rows fill the candidate list of an HNSW search until vacuum: vacuum at 2 %, not at 20 %.
        "ALTER TABLE {chunks} SET (autovacuum_vacuum_scale_factor = 0.02)",
        # Without a pending list, a filter never scans what the last load left there.
        "CREATE INDEX {metadata_index} ON {chunks} USING gin (metadata jsonb_path_ops) WITH (fastupdate = off)",
    ]
    if collection.dimension <= _INLINE_DIMENSIONS:
        # A vector moved out of its row costs one more lookup per row of an exact scan, and hides from the planner.
        statements.append("ALTER TABLE {chunks} ALTER COLUMN embedding SET STORAGE PLAIN")
    return [sql.SQL(statement).format(**names) for statement in statements]


def _check_fit(collection: Collection, registered: Registered) -> None:
    remedy = (
        "set `providers.vector_store.<name>.collection_name` to a new name and ingest again, or drop the collection: "
        f"DROP TABLE {collection.name}_chunks, {collection.name}_documents;"
    )
    if registered.schema_version > SCHEMA_VERSION:
        raise StartupError(
            f"collection `{collection.name}` was written by a newer version of sibyl (schema "
            f"{registered.schema_version}, known here: {SCHEMA_VERSION}): run that version"
        )
    if registered.schema_version < _OLDEST_MIGRATED:
        raise StartupError(
            f"collection `{collection.name}` was written by an earlier version of sibyl (schema "
            f"{registered.schema_version}, {_OLDEST_MIGRATED} is the oldest that is taken over): {remedy}"
        )
    if registered.dimension != collection.dimension:
        raise StartupError(
            f"collection `{collection.name}` holds vectors of dimension {registered.dimension}, and the embedding "
            f"model `{collection.tag}` makes dimension {collection.dimension}: {remedy}"
        )
    if registered.tag != collection.tag:
        raise StartupError(
            f"collection `{collection.name}` was embedded by `{registered.tag}`, and the configured model is "
            f"`{collection.tag}`; their vectors do not compare: {remedy}"
        )


async def _change_metric(connection: Connection, collection: Collection) -> None:
    """Vectors stay; scores change from now on, and the next `ensure_index` rebuilds the index for the new metric."""
    await connection.execute(
        sql.SQL("UPDATE {} SET distance_metric = %s, {} WHERE collection = %s").format(REGISTRY, NEXT_VERSION),
        [collection.metric.name, collection.name],
    )
    logger.warning(
        "collection %s now uses distance_metric %s: ingest once more to rebuild its index",
        collection.name,
        collection.metric.name,
    )


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
