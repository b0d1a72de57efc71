"""How the nearest chunks are found: exactly, through an index, or exactly among those that a filter leaves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pgvector import HalfVector

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
    # Exact among ids that an index outside of the database has found, which the row's `nearest` counts.
    GIVEN = "given"


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
    """One row of any of the statements. `matches` is counted by SELECTIVE alone; `nearest` is how many rows the vector
    search found, over which `hybrid` fuses."""

    chunk_id: int
    document_id: str
    title: str
    heading: str
    content: str
    distance: float
    metadata: dict[str, object]
    tokens: int = 0
    matches: int = 0
    nearest: int = 0
    embedding: HalfVector | None = None


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


def hits(rows: list[Row], collection: Collection, threshold: float | None, top_k: int) -> list[Hit]:
    """Rows as hits, in their order, `top_k` at most.

    `threshold` is applied here: in SQL it would keep the index unread.
    """
    found = [_hit(row, collection) for row in rows if is_finite(row.distance)]
    return [hit for hit in found if threshold is None or hit.score >= threshold][:top_k]


def _hit(row: Row, collection: Collection) -> Hit:
    return Hit(
        row.chunk_id,
        row.document_id,
        row.title,
        row.heading,
        row.content,
        collection.metric.score(row.distance),
        row.metadata,
        row.tokens,
        None if row.embedding is None else row.embedding.to_numpy().astype("float32"),
    )
