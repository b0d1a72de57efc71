"""How a search is asked of PostgreSQL: which of four statements, and what each one looks like.

Exact and approximate search are *differently worded* statements. A cached plan ignores a later
`SET enable_indexscan`, so wording is the only switch that holds:
- an approximate search orders by `embedding <=> query`, which a vector index answers;
- an exact one orders by the same distance plus 0, which no index answers;
- the filter of an approximate search reads `(metadata @> filter) IS TRUE`, which keeps the planner from sorting half
  the table through the metadata index; that of an exact search reads `metadata @> filter`, which uses it.
All choose ids first and read contents for those alone. LIMIT is part of the text: a generic plan with an unknown
limit assumes a tenth of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from psycopg import sql

from sibyl_runtime.store.collection import Collection, is_finite
from sibyl_runtime.store.records import Hit

# Below this an exact scan takes about as long as a walk through a graph, and finds everything.
EXACT_ROWS = 5_000
# A filter that leaves at most this many rows is answered exactly, through the metadata index.
SELECTIVE_ROWS = 10_000
LARGEST_EF_SEARCH = 1_000


class Route(Enum):
    """The statement that answers a search."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    # Exact over a filter's matches, given up when they are more than SELECTIVE_ROWS: the row says how many there were.
    SELECTIVE = "selective"


@dataclass(frozen=True)
class CollectionState:
    """What a route depends on: `chunks` in the collection, and its usable vector index ("none" without one)."""

    chunks: int
    index_kind: str
    lists: int | None = None


@dataclass(frozen=True)
class SearchSettings:
    """The provider's settings that a search depends on. `probes` None: from the number of lists."""

    index_type: str
    ef_search: int
    probes: int | None


@dataclass(frozen=True)
class Override:
    """A setting for one transaction."""

    name: str
    value: int


class Row(NamedTuple):
    """One row of any of the statements. `matches` is counted by SELECTIVE alone."""

    chunk_id: int
    document_id: str
    title: str
    heading: str
    content: str
    distance: float
    metadata: dict[str, object]
    matches: int


def choose_route(state: CollectionState, settings: SearchSettings, top_k: int, *, filtered: bool, broad: bool) -> Route:
    """`broad`: this filter is known to match more than SELECTIVE_ROWS."""
    if state.index_kind == "none":
        return Route.EXACT
    if settings.index_type == "auto" and state.chunks < EXACT_ROWS:
        return Route.EXACT
    if filtered and not broad:
        return Route.SELECTIVE
    if state.index_kind == "hnsw" and ef_search_for(settings, top_k) is None:
        return Route.EXACT
    return Route.APPROXIMATE


def ef_search_for(settings: SearchSettings, top_k: int) -> int | None:
    """Candidates that an HNSW search must keep for `top_k`; None when pgvector's limit does not allow that many.

    With fewer than top_k candidates the answer would silently end there.
    """
    needed = max(settings.ef_search, 2 * top_k)
    return needed if needed <= LARGEST_EF_SEARCH else None


def override_for(state: CollectionState, settings: SearchSettings, top_k: int) -> Override | None:
    """What an approximate search needs beyond the settings that every connection has."""
    if state.index_kind == "hnsw":
        needed = ef_search_for(settings, top_k)
        return Override("hnsw.ef_search", needed) if needed is not None and needed != settings.ef_search else None
    if settings.probes is None and state.lists:
        return Override("ivfflat.probes", max(1, round(state.lists**0.5)))
    return None


@lru_cache(maxsize=512)
def statement(collection: Collection, route: Route, top_k: int, *, filtered: bool) -> bytes:
    """SQL with the parameters `vector` and, when `filtered`, `filter`."""
    nearest = sql.SQL(_NEAREST[route, filtered]).format(
        chunks=collection.chunks,
        distance=sql.SQL("embedding {} %(vector)b").format(sql.SQL(collection.metric.operator)),
        top_k=sql.Literal(top_k),
        bound=sql.Literal(SELECTIVE_ROWS + 1),
    )
    return (
        sql.SQL(
            "WITH {nearest} SELECT c.id, c.document_id, d.title, c.heading, c.content, n.distance, c.metadata,"
            " n.matches FROM nearest n JOIN {chunks} c ON c.id = n.id JOIN {documents} d"
            " ON d.id = c.document_id AND d.source = c.source"
            # + 0: the planner takes an index scan for sorted, and relaxed_order is not.
            " ORDER BY n.distance + 0, n.id"
        )
        .format(nearest=nearest, chunks=collection.chunks, documents=collection.documents)
        .as_bytes()
    )


_EXACT = (
    "nearest AS MATERIALIZED (SELECT id, ({{distance}}) + 0 AS distance, 0::bigint AS matches"
    " FROM {{chunks}}{where} ORDER BY distance, id LIMIT {{top_k}})"
)
_APPROXIMATE = (
    "nearest AS MATERIALIZED (SELECT id, {{distance}} AS distance, 0::bigint AS matches"
    " FROM {{chunks}}{where} ORDER BY {{distance}} LIMIT {{top_k}})"
)
_SELECTIVE = (
    "matched AS MATERIALIZED (SELECT id, {distance} AS distance FROM {chunks}"
    " WHERE metadata @> %(filter)b LIMIT {bound}),"
    " nearest AS MATERIALIZED (SELECT id, distance, (SELECT count(*) FROM matched) AS matches"
    " FROM matched ORDER BY distance, id LIMIT {top_k})"
)
_NEAREST = {
    (Route.EXACT, False): _EXACT.format(where=""),
    (Route.EXACT, True): _EXACT.format(where=" WHERE metadata @> %(filter)b"),
    (Route.APPROXIMATE, False): _APPROXIMATE.format(where=""),
    (Route.APPROXIMATE, True): _APPROXIMATE.format(where=" WHERE (metadata @> %(filter)b) IS TRUE"),
    (Route.SELECTIVE, True): _SELECTIVE,
}


def hits(rows: list[Row], collection: Collection, threshold: float | None) -> list[Hit]:
    """Rows as hits, best first. `threshold` is applied here: in SQL it would keep the index unread."""
    score = collection.metric.score
    found = [
        Hit(row.chunk_id, row.document_id, row.title, row.heading, row.content, score(row.distance), row.metadata)
        for row in rows
        if is_finite(row.distance)
    ]
    return found if threshold is None else [hit for hit in found if hit.score >= threshold]
