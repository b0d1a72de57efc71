"""Searching on a connection: knows the collection's state, takes the route, and makes sure that nothing is missing."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pgvector import HalfVector
from psycopg import AsyncCursor, sql
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int8

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.filters import EncodedFilter
from sibyl_runtime.store.index import observe, usable
from sibyl_runtime.store.records import Ranking
from sibyl_runtime.store.routing import (
    SELECTIVE_ROWS,
    CollectionState,
    Override,
    Route,
    Row,
    SearchSettings,
    choose_route,
    override_for,
)
from sibyl_runtime.store.schema import REGISTRY
from sibyl_runtime.store.statements import SHORTEST_LIST, Shape, statement

# Other processes load and index too; what they changed is known here after this many seconds at the latest.
_STATE_LIFE = 10.0
# For so long a filter that matched too much is not tried exactly again.
_BROAD_LIFE = 60.0
_BROAD_FILTERS = 256
# Ids that an index outside names beyond those asked for: it may round otherwise, and hold vectors in fewer bits.
SPARE = 16
# Under a filter that many rows match; beyond this, looking at all rows costs no more.
MOST_CANDIDATES = 4_096


@dataclass(frozen=True)
class Query:
    """A question in the store's terms: `limit` rows, best first by `ranking`."""

    vector: HalfVector
    ranking: Ranking
    filter: EncodedFilter | None
    limit: int

    @property
    def depth(self) -> int:
        """Rows that each list must have: of one list the limit, of two that get fused more."""
        return max(SHORTEST_LIST, self.limit) if self.ranking.strategy == "hybrid" else self.limit

    @property
    def shape(self) -> Shape:
        """What decides how the statement reads."""
        return Shape(
            self.ranking.strategy,
            self.limit,
            self.depth,
            contains=self.filter is not None and self.filter.contains is not None,
            path=self.filter is not None and self.filter.path is not None,
            embeddings=self.ranking.embeddings,
        )


class Nearest(Protocol):
    """An index outside of the database, over the same rows. `len()` is their number."""

    def __len__(self) -> int: ...

    async def search(self, vector: Vectors, count: int) -> list[int]:
        """The ids of `count` rows that are near, or of all; `vector` of shape (dimension,)."""


class Search:
    """Answers queries on connections that are handed in; keeps no connection of its own.

    With `nearest`, vectors are searched there, and what it names is read, measured and filtered here.
    """

    def __init__(
        self,
        collection: Collection,
        settings: SearchSettings,
        nearest: Nearest | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nearest = nearest
        self._collection = collection
        self._settings = settings
        self._clock = clock
        self._state: CollectionState | None = None
        self._state_until = 0.0
        self._broad: OrderedDict[EncodedFilter, float] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def stats(self) -> dict[str, int]:
        """Searches by what answered them, and `short_results`: approximate answers that missed rows and were repeated
        exactly."""
        names = ("searches_exact", "searches_approximate", "searches_keyword", "short_results")
        return {name: self._counts[name] for name in names}

    def forget_state(self) -> None:
        """The collection or its index has changed: look again before the next search."""
        self._state_until = 0.0

    async def run(self, connection: Connection, query: Query) -> list[Row]:
        """The best rows, best first; fewer than the limit only when no more match."""
        if self._nearest is not None and query.ranking.strategy != "keyword":
            return await self._run_outside(connection, query, self._nearest)
        state = await self._current_state(connection)
        if query.ranking.strategy == "keyword":
            self._counts["searches_keyword"] += 1
            return await self._execute(connection, query, Route.EXACT, state)
        broad = query.filter is not None and self._is_broad(query.filter)
        route = self._route(state, query, broad=broad)
        rows = await self._execute(connection, query, route, state)
        if route is Route.SELECTIVE and query.filter is not None and rows and rows[0].matches > SELECTIVE_ROWS:
            self._remember_broad(query.filter)
            route = self._route(state, query, broad=True)
            rows = await self._execute(connection, query, route, state)
        if route is Route.APPROXIMATE and _found(rows) < min(query.depth, state.chunks):
            self._counts["short_results"] += 1
            route = Route.EXACT
            rows = await self._execute(connection, query, route, state)
        self._counts["searches_approximate" if route is Route.APPROXIMATE else "searches_exact"] += 1
        return rows

    async def _run_outside(self, connection: Connection, query: Query, nearest: Nearest) -> list[Row]:
        state = CollectionState(len(nearest), "outside")
        filtered, count = query.filter is not None, query.depth + SPARE
        if query.filter is not None and not self._is_broad(query.filter):
            rows = await self._execute(connection, query, Route.SELECTIVE, state)
            if not rows or rows[0].matches <= SELECTIVE_ROWS:
                self._counts["searches_exact"] += 1
                return rows
            self._remember_broad(query.filter)
        if filtered:
            # Among so many, twice as many as needed match when matches are spread evenly.
            count = min(2 * query.depth * max(1, state.chunks // SELECTIVE_ROWS) + SPARE, MOST_CANDIDATES)
        found = await nearest.search(query.vector.to_numpy().astype("float32"), max(count, query.depth))
        if found:
            rows = await self._execute(connection, query, Route.GIVEN, state, found)
            if _found(rows) >= min(query.depth, state.chunks):
                self._counts["searches_approximate"] += 1
                return rows
            self._counts["short_results"] += 1
        # Removed meanwhile, in cells that were not visited, or few of them match: all rows are looked at.
        self._counts["searches_exact"] += 1
        return await self._execute(connection, query, Route.EXACT, state)

    def _is_broad(self, filter_: EncodedFilter) -> bool:
        return self._broad.get(filter_, 0.0) > self._clock()

    def _remember_broad(self, filter_: EncodedFilter) -> None:
        self._broad[filter_] = self._clock() + _BROAD_LIFE
        self._broad.move_to_end(filter_)
        while len(self._broad) > _BROAD_FILTERS:
            self._broad.popitem(last=False)

    def _route(self, state: CollectionState, query: Query, *, broad: bool) -> Route:
        return choose_route(state, self._settings, query.depth, filtered=query.filter is not None, broad=broad)

    async def _current_state(self, connection: Connection) -> CollectionState:
        if self._state is None or self._clock() >= self._state_until:
            # Set first: one search looks, those beside it use what was known.
            self._state_until = self._clock() + _STATE_LIFE
            try:
                self._state = await self._read_state(connection)
            except BaseException:
                self._state_until = 0.0
                raise
        return self._state

    async def _read_state(self, connection: Connection) -> CollectionState:
        cursor = await connection.execute(
            sql.SQL("SELECT chunks FROM {} WHERE collection = %s").format(REGISTRY), [self._collection.name]
        )
        row = await cursor.fetchone()
        index = usable(await observe(connection, self._collection), self._collection)
        chunks = int(row[0]) if row is not None else 0
        if index is None:
            return CollectionState(chunks, "none")
        return CollectionState(chunks, index.kind, index.parameters.get("lists"))

    async def _execute(
        self, connection: Connection, query: Query, route: Route, state: CollectionState, found: Sequence[int] = ()
    ) -> list[Row]:
        text = statement(self._collection, route, query.shape)
        parameters: dict[str, object] = {"vector": query.vector}
        if route is Route.GIVEN:
            parameters["found"] = [Int8(id_) for id_ in found]
        if query.ranking.strategy != "vector":
            parameters |= {"text": query.ranking.text, "chunks": Int8(state.chunks)}
        if query.filter is not None and query.filter.contains is not None:
            parameters["contains"] = Jsonb(query.filter.contains, dumps=bytes)
        if query.filter is not None and query.filter.path is not None:
            parameters["path"] = query.filter.path
        override = override_for(state, self._settings, query.depth) if route is Route.APPROXIMATE else None
        if override is None:
            cursor = await connection.execute(text, parameters, prepare=True, binary=True)
        else:
            cursor = await self._with_override(connection, override, text, parameters)
        return [Row(*row) for row in await cursor.fetchall()]

    async def _with_override(
        self, connection: Connection, override: Override, text: bytes, parameters: dict[str, object]
    ) -> AsyncCursor[tuple[Any, ...]]:
        """One transaction in one round trip."""
        async with connection.pipeline():
            await connection.execute("BEGIN")
            await connection.execute("SELECT set_config(%s, %s, true)", [override.name, str(override.value)])
            cursor = await connection.execute(text, parameters, prepare=True, binary=True)
            await connection.execute("COMMIT")
        return cursor


def _found(rows: list[Row]) -> int:
    """How many rows the vector search found, which may be more than there are in the end."""
    return rows[0].nearest if rows else 0
