"""Fields of the documents' metadata: a filter on one that no document has is a mistake, most often of spelling.

Looked at only when a filtered search has found nothing, so a search that finds something pays nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.workspace.errors import nearest

_DOCUMENTS_READ = 1_000
_FIELDS_SHOWN = 20


async def refuse_unknown(connection: Connection, collection: Collection, asked: Sequence[str]) -> None:
    """Raises InvalidParameters when a field of `asked` is in no document; an empty collection knows no fields."""
    missing = await _missing(connection, collection, asked)
    if not missing:
        return
    known = await _known(connection, collection)
    near = nearest(missing[0], known)
    hint = f"did you mean {near}?" if near else f"fields found: {', '.join(known[:_FIELDS_SHOWN]) or 'none'}"
    place = f"filters.{missing[0]}"
    raise InvalidParameters(
        f"`{place}`: no document of this collection has the field {missing[0]!r} in its metadata; {hint}",
        details={"field": place},
    )


async def _missing(connection: Connection, collection: Collection, asked: Sequence[str]) -> list[str]:
    statement = sql.SQL(
        "SELECT field FROM unnest(%s::text[]) WITH ORDINALITY AS asked(field, place)"
        " WHERE NOT EXISTS (SELECT FROM {documents} WHERE metadata ? field) AND EXISTS (SELECT FROM {documents})"
        " ORDER BY place"
    ).format(documents=collection.documents)
    return [row[0] for row in await (await connection.execute(statement, [list(asked)])).fetchall()]


async def _known(connection: Connection, collection: Collection) -> list[str]:
    statement = sql.SQL(
        "SELECT DISTINCT jsonb_object_keys(metadata) AS field"
        " FROM (SELECT metadata FROM {} LIMIT {}) AS looked_at ORDER BY field"
    ).format(collection.documents, _DOCUMENTS_READ)
    return [row[0] for row in await (await connection.execute(statement)).fetchall()]
