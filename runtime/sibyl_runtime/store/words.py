"""The full text of a collection: its chunks as lexemes, and in how many chunks each lexeme occurs.

Both tables are derived from the chunks, and kept apart from them: a column of the chunks would have to be added by
rewriting that table and its vector index under a lock that shuts readers out, and would make every exact vector scan
read more. Triggers keep the lexemes in step with the chunks in the same transaction, whichever version of the runtime
writes. The frequencies are statistics: they are counted after a load, and may lag behind.
"""

from __future__ import annotations

import logging
import time

from psycopg import sql

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection

logger = logging.getLogger(__name__)

_BATCH = 500
# Above so many chunks, frequencies are counted in a sample.
_COUNTED_WHOLE = 50_000
_MARK = "sibyl: full text of "


async def create(connection: Connection, collection: Collection, *, anew: bool) -> None:
    """Make the tables and triggers, inside a transaction; those that are there stay, unless `anew`.

    Raises StartupError: the tables are there in another language.
    """
    names = _names(collection)
    found = await _descriptions(connection, collection)
    if anew:
        for name in (name for name, description in found.items() if description.startswith(_MARK)):
            await connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        found = {}
    _check_language(collection, found)
    for name, statements in _TABLES.items():
        if names[name].as_string().strip('"') not in found:
            for statement in statements:
                await connection.execute(sql.SQL(statement).format(**names))
    body = sql.SQL(_BODY).format(**names).as_string()
    await connection.execute(sql.SQL(_FUNCTION).format(body=sql.Literal(body), **names))
    for event, tables in _EVENTS.items():
        await connection.execute(
            sql.SQL(
                "CREATE OR REPLACE TRIGGER {trigger} AFTER {event} ON {chunks} {tables}"
                " FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            ).format(
                trigger=sql.Identifier(f"sibyl_words_{event.lower()}"),
                event=sql.SQL(event),
                tables=sql.SQL(tables),
                **names,
            )
        )


async def ready(connection: Connection, collection: Collection) -> bool:
    """Whether both tables are there. Raises StartupError when they are there in another language."""
    found = await _descriptions(connection, collection)
    _check_language(collection, found)
    return len(found) == len(_TABLES)


async def fill(connection: Connection, collection: Collection) -> int:
    """Add the lexemes of chunks that have none, in short transactions; rows added. Readers and writers go on."""
    # The row lock keeps a chunk from being deleted between its reading and the storing of its lexemes.
    statement = sql.SQL(
        "WITH missing AS (SELECT id, heading, content FROM {chunks} c WHERE id > %s"
        " AND NOT EXISTS (SELECT FROM {lexemes} l WHERE l.chunk_id = c.id) ORDER BY id LIMIT %s FOR KEY SHARE OF c),"
        " added AS (INSERT INTO {lexemes} SELECT id, to_tsvector({language}, heading || ' ' || content) FROM missing"
        " ON CONFLICT DO NOTHING) SELECT count(*), max(id) FROM missing"
    ).format(**_names(collection))
    started, added, last = time.monotonic(), 0, 0
    while True:
        cursor = await connection.execute(statement, [last, _BATCH])
        count, highest = await cursor.fetchone() or (0, None)
        if not count:
            break
        added, last = added + count, highest
    if added:
        await connection.execute(sql.SQL("ANALYZE {lexemes}").format(**_names(collection)))
        logger.info(
            "full text of collection %s: read %d chunks in %.1f s", collection.name, added, time.monotonic() - started
        )
    return added


async def refresh_frequencies(connection: Connection, collection: Collection, rows: int) -> None:
    """Count anew in how many chunks each lexeme occurs, when the number of chunks has changed by a tenth."""
    names = _names(collection)
    # The row of the empty lexeme, which no text has, holds the number of chunks that were counted.
    cursor = await connection.execute(sql.SQL("SELECT chunks FROM {frequencies} WHERE lexeme = ''").format(**names))
    row = await cursor.fetchone()
    if row is not None and abs(row[0] - rows) <= 0.1 * rows:
        return
    share = min(1.0, _COUNTED_WHOLE / max(rows, 1))
    sample = "" if share == 1.0 else f" TABLESAMPLE SYSTEM ({100 * share:.4f}) REPEATABLE (1)"
    counted = sql.SQL("SELECT lexemes FROM {lexemes}" + sample).format(**names).as_string()
    async with connection.transaction():
        await connection.execute(sql.SQL("DELETE FROM {frequencies}").format(**names))
        await connection.execute(
            sql.SQL(
                "INSERT INTO {frequencies} SELECT word, ceil(ndoc / {share}) FROM ts_stat({counted})"
                " UNION ALL SELECT '', {rows}"
            ).format(share=sql.Literal(share), counted=sql.Literal(counted), rows=sql.Literal(rows), **names)
        )
    await connection.execute(sql.SQL("ANALYZE {frequencies}, {lexemes}").format(**names))


def _names(collection: Collection) -> dict[str, sql.Composable]:
    return {
        "chunks": collection.chunks,
        "lexemes": collection.lexemes,
        "frequencies": collection.frequencies,
        "index": sql.Identifier(f"{collection.name}_words"),
        "function": sql.Identifier(f"{collection.name}_words"),
        "language": sql.SQL("{}::regconfig").format(sql.Literal(collection.text_search)),
        "mark": sql.Literal(_mark(collection)),
    }


def _mark(collection: Collection) -> str:
    return f"{_MARK}{collection.name}_chunks in {collection.text_search}; derived, made anew when missing"


async def _descriptions(connection: Connection, collection: Collection) -> dict[str, str]:
    """The tables of these names that are there, with the comment that each has."""
    cursor = await connection.execute(
        "SELECT relname, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class"
        " WHERE relname = ANY(%s) AND relkind = 'r' AND pg_table_is_visible(oid)",
        [[f"{collection.name}_lexemes", f"{collection.name}_frequencies"]],
    )
    return dict(await cursor.fetchall())


def _check_language(collection: Collection, found: dict[str, str]) -> None:
    for name, description in found.items():
        if not description.startswith(_MARK):
            raise StartupError(
                f"the database has a table {name}, which collection `{collection.name}` needs, and it is not ours: "
                "choose another `providers.vector_store.<name>.collection_name`"
            )
        if description != _mark(collection):
            language = description.removeprefix(_MARK).partition(" in ")[2].partition(";")[0]
            raise StartupError(
                f"the full text of collection `{collection.name}` was made in `{language}`, and "
                f"`providers.vector_store.<name>.text_search` is `{collection.text_search}`: set it back, or have it "
                "made anew at the next start, without embedding again: "
                f"DROP TABLE {collection.name}_lexemes, {collection.name}_frequencies;"
            )


_TABLES = {
    "lexemes": (
        "CREATE TABLE {lexemes} (chunk_id bigint PRIMARY KEY, lexemes tsvector NOT NULL)",
        # Ranking reads the lexemes of hundreds of chunks; out of line each would be one more lookup.
        "ALTER TABLE {lexemes} ALTER COLUMN lexemes SET STORAGE MAIN",
        "CREATE INDEX {index} ON {lexemes} USING gin (lexemes) WITH (fastupdate = off)",
        "COMMENT ON TABLE {lexemes} IS {mark}",
    ),
    "frequencies": (
        "CREATE TABLE {frequencies} (lexeme text PRIMARY KEY, chunks bigint NOT NULL)",
        "COMMENT ON TABLE {frequencies} IS {mark}",
    ),
}

_BODY = (
    "BEGIN"
    " IF TG_OP = 'INSERT' THEN"
    " INSERT INTO {lexemes} SELECT id, to_tsvector({language}, heading || ' ' || content) FROM added"
    " ON CONFLICT DO NOTHING;"
    " ELSIF TG_OP = 'DELETE' THEN DELETE FROM {lexemes} USING removed WHERE chunk_id = removed.id;"
    " ELSE DELETE FROM {lexemes};"
    " END IF;"
    " RETURN NULL; END"
)
_FUNCTION = "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {body}"
_EVENTS = {
    "INSERT": "REFERENCING NEW TABLE AS added",
    "DELETE": "REFERENCING OLD TABLE AS removed",
    "TRUNCATE": "",
}
