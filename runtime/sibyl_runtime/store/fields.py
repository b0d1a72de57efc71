"""Fields of the documents' metadata: a filter on one that no document has is a mistake, most often of spelling.

Looked at only when a filtered search has found nothing, so a search that finds something pays nothing.
"""

from __future__ import annotations

from psycopg import sql
from psycopg.types.json import Jsonb

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.filters import EncodedFilter
from sibyl_runtime.workspace.errors import nearest

_DOCUMENTS_READ = 1_000
_FIELDS_SHOWN = 20


async def refuse_unknown(connection: Connection, collection: Collection, asked: EncodedFilter) -> None:
    """Raises InvalidParameters when a field of `asked` is in no document; an empty collection knows no fields.

    Of documents that the workspace's own filter hides, callers do not learn the fields either.
    """
    missing = await _missing(connection, collection, asked)
    if not missing:
        return
    known = await _known(connection, collection, asked)
    near = nearest(missing[0], known)
    hint = f"did you mean {near}?" if near else f"fields found: {', '.join(known[:_FIELDS_SHOWN]) or 'none'}"
    place = f"filters.{missing[0]}"
    raise InvalidParameters(
        f"`{place}`: no document of this collection has the field {missing[0]!r} in its metadata; {hint}",
        details={"field": place},
    )


async def _missing(connection: Connection, collection: Collection, asked: EncodedFilter) -> list[str]:
    there, parameters = _there(collection, asked)
    statement = sql.SQL(
        "SELECT field FROM unnest(%(fields)s::text[]) WITH ORDINALITY AS asked(field, place)"
        " WHERE NOT EXISTS (SELECT FROM {there} WHERE metadata ? field) AND EXISTS (SELECT FROM {there})"
        " ORDER BY place"
    ).format(there=there)
    cursor = await connection.execute(statement, {"fields": list(asked.fields), **parameters})
    return [row[0] for row in await cursor.fetchall()]


async def _known(connection: Connection, collection: Collection, asked: EncodedFilter) -> list[str]:
    there, parameters = _there(collection, asked)
    statement = sql.SQL(
        "SELECT DISTINCT jsonb_object_keys(metadata) AS field"
        " FROM (SELECT metadata FROM {} LIMIT {}) AS looked_at ORDER BY field"
    ).format(there, _DOCUMENTS_READ)
    return [row[0] for row in await (await connection.execute(statement, parameters)).fetchall()]


def _there(collection: Collection, asked: EncodedFilter) -> tuple[sql.Composed, dict[str, object]]:
    """The documents that callers may know of."""
    own = asked.own
    tests, parameters = [sql.SQL("true")], dict[str, object]()
    if own is not None and own.contains is not None:
        tests.append(sql.SQL("metadata @> %(contains)s"))
        parameters["contains"] = Jsonb(own.contains, dumps=bytes)
    if own is not None and own.path is not None:
        tests.append(sql.SQL("metadata @@ %(path)s::text::jsonpath"))
        parameters["path"] = own.path
    chosen = sql.SQL("(SELECT metadata FROM {} WHERE {}) AS there")
    return chosen.format(collection.documents, sql.SQL(" AND ").join(tests)), parameters
