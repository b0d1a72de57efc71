"""The vector store on PostgreSQL with pgvector: the one class that techniques see."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, Overloaded, StartupError
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store import index, ingest, schema
from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.connection import Connection, connect
from sibyl_runtime.store.failures import ADVICE, translated
from sibyl_runtime.store.fields import refuse_unknown
from sibyl_runtime.store.filters import encode_filters
from sibyl_runtime.store.index import IndexState
from sibyl_runtime.store.mirror import Mirror, recipe_for
from sibyl_runtime.store.pool import Database, T, Work
from sibyl_runtime.store.records import (
    EVERY_ID,
    NEAREST,
    EmbeddedDocument,
    Filters,
    Hit,
    IdRange,
    Ranking,
    StoreCounts,
)
from sibyl_runtime.store.replicas import ReadReplicas, Replica
from sibyl_runtime.store.routing import Row, SearchSettings, hits
from sibyl_runtime.store.search import Query, Search
from sibyl_runtime.store.statements import SHORTEST_LIST
from sibyl_runtime.store.supervision import Supervision
from sibyl_runtime.store.writes import Writes
from sibyl_runtime.workspace import VectorStoreProvider

logger = logging.getLogger(__name__)

_CHECK_TIMEOUT = 2.0


class PgVectorStore:
    """A collection in PostgreSQL. Implements `VectorStore`; made by `open_store`."""

    def __init__(
        self,
        dsn: str,
        database: Database,
        collection: Collection,
        provider: VectorStoreProvider,
        embedded: Supervision | None,
        replicas: Sequence[Replica] = (),
    ) -> None:
        self._mirror = (
            Mirror(database, self._unpooled, collection, recipe_for(provider, collection))
            if provider.kind == "faiss"
            else None
        )
        self._dsn = dsn
        self._database = database
        self._collection = collection
        self._provider = provider
        self._embedded = embedded
        self._writes = Writes()
        self._replicas = (
            ReadReplicas(database, replicas, strategy=provider.read_strategy, read_version=self._read_version)
            if replicas
            else None
        )
        settings = SearchSettings(provider.index_type, provider.hnsw_ef_search, provider.probes)
        self._search = Search(collection, settings, self._mirror)

    @property
    def location(self) -> str:
        """Where the collection is, without any secret: for logs and status."""
        return f"collection {self._collection.name} in {self._database.endpoint}"

    @property
    def embedded(self) -> bool:
        """True when the server is a child of this process."""
        return self._embedded is not None

    async def versions(self) -> dict[str, str]:
        """The versions of `postgresql` and `pgvector`."""

        async def work(connection: Connection) -> dict[str, str]:
            cursor = await connection.execute(
                "SELECT split_part(current_setting('server_version'), ' ', 1), "
                "(SELECT extversion FROM pg_extension WHERE extname = 'vector')"
            )
            server, extension = await cursor.fetchone() or ("", "")
            return {"postgresql": server, "pgvector": extension}

        return await self._read(work, "reading versions")

    async def fingerprints(self, document_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The stored fingerprints of each known id, by the source that it comes from."""
        documents = self._collection.documents
        statement = sql.SQL("SELECT id, source, fingerprint FROM {} WHERE id = ANY(%s)").format(documents)

        async def work(connection: Connection) -> dict[str, dict[str, str]]:
            cursor = await connection.execute(statement, [list(document_ids)])
            found: dict[str, dict[str, str]] = {}
            for document_id, source, fingerprint in await cursor.fetchall():
                found.setdefault(document_id, {})[source] = fingerprint
            return found

        return await self._read(work, "reading fingerprints")

    async def replace(self, documents: Sequence[EmbeddedDocument]) -> int:
        """Store documents with their chunks, each replacing its former self; one transaction; chunks written.

        Raises IngestError naming a document that cannot be stored; nothing of the batch is stored then.
        """
        if not documents:
            return 0
        prepared = ingest.prepare_documents(documents, self._collection)

        async def work(connection: Connection) -> int:
            return await ingest.replace(connection, self._collection, prepared)

        written = await self._write(work, "storing documents")
        return written

    async def remove_missing(self, source: str, present: Sequence[str], within: IdRange = EVERY_ID) -> int:
        """Delete the documents of `source` with an id `within` a range that is not in `present`; documents removed."""

        async def work(connection: Connection) -> int:
            return await ingest.remove_missing(connection, self._collection, source, present, within)

        removed = await self._write(work, "removing documents")
        return removed

    async def sources(self) -> dict[str, int]:
        """Every source, and how many documents it has in the collection; the largest first."""
        statement = sql.SQL("SELECT source, count(*) FROM {} GROUP BY source ORDER BY 2 DESC, 1").format(
            self._collection.documents
        )

        async def work(connection: Connection) -> dict[str, int]:
            return dict(await (await connection.execute(statement)).fetchall())

        return await self._read(work, "reading sources")

    async def search(
        self,
        vector: Vectors,
        *,
        top_k: int,
        ranking: Ranking = NEAREST,
        threshold: float | None = None,
        filters: Filters | None = None,
        timeout: float | None = None,
    ) -> list[Hit]:
        """At most `top_k` chunks, best first by `ranking`; none with a score below `threshold`.

        `vector` has shape (dimension,). The score is the cosine similarity for `cosine`, 1 / (1 + distance) for
        `euclidean`, the inner product for `dot_product`. Raises InvalidParameters for a filter that cannot be
        applied, or that names a field which no document has.
        """
        limit_rows = top_k if threshold is None else _spare(top_k, ranking)
        query = Query(self._half(vector), ranking, encode_filters(filters), limit_rows)
        limit = self._provider.timeout if timeout is None else min(timeout, self._provider.timeout)
        if self._mirror is not None and ranking.strategy != "keyword":
            # Before a connection is taken: what it waits for needs one too.
            asked_at = time.monotonic()
            await self._mirror.catch_up(limit)
            limit = max(0.0, limit - (time.monotonic() - asked_at))

        async def work(connection: Connection) -> list[Row]:
            rows = await self._search.run(connection, query)
            if not rows and query.filter is not None:
                await refuse_unknown(connection, self._collection, query.filter)
            return rows

        if self._replicas is None:
            rows = await self._database.run(work, stage="search", timeout=limit, repeatable=True)
        else:
            rows = await self._replicas.run(work, stage="search", timeout=limit)
        return hits(rows, self._collection, threshold, top_k)

    async def ensure_index(self) -> None:
        """After a load: build or rebuild the approximate index where the collection's size and settings ask for it.

        Takes as long as the build takes, on a connection of its own; searches and loads go on meanwhile.
        """
        async with self._unpooled() as connection:
            with self._writes.watched(), translated("building the index"):
                await index.prepare_session(connection)
                await index.ensure(connection, self._collection, self._provider)
        self._forget_state()

    async def prepare_search(self) -> None:
        """Before the first search: read the vectors, where they are searched in the memory of this process."""
        if self._mirror is not None:
            await self._mirror.catch_up()

    async def index_state(self) -> IndexState:
        """The approximate index that searches use now, and the number of chunks."""
        if self._mirror is not None:
            return self._mirror.state()

        async def work(connection: Connection) -> IndexState:
            found = await index.observe(connection, self._collection)
            serving = index.usable(found, self._collection)
            if serving is not None:
                return serving
            rows = (await self._read_counts(connection)).chunks
            return next(iter(found), IndexState(kind="none", rows=rows, valid=True))

        return await self._read(work, "reading the index state")

    async def counts(self) -> StoreCounts:
        """Rows and version now: one row of the registry, kept in the transactions that change them."""
        counts = await self._read(self._read_counts, "reading counts")
        self._saw(counts.corpus_version)
        return counts

    def remarks(self) -> dict[str, Any]:
        """The last write that was refused, while none has succeeded since; and the read replicas, if there are any."""
        return {**self._writes.remarks(), **({} if self._replicas is None else {"replicas": self._replicas.states()})}

    async def check(self) -> None:
        """Cheap proof that the store answers, or DatabaseUnavailable within 2 s.

        A pool whose connections are all at work passes: being busy must not make a pod unready.
        """
        try:
            await self._database.run(
                self._read_counts, stage="check", timeout=_CHECK_TIMEOUT, wait=_CHECK_TIMEOUT / 2, repeatable=True
            )
        except Overloaded:
            return
        except DeadlineExceeded as error:
            raise DatabaseUnavailable(
                f"the database did not answer within {_CHECK_TIMEOUT:g} s; {ADVICE}", retry_after=1
            ) from error

    def stats(self) -> dict[str, int]:
        """Figures for metrics: psycopg_pool's (pool_size, pool_available, requests_waiting, ...) and the searches'."""
        replicas = {} if self._replicas is None else self._replicas.stats()
        mirror = {} if self._mirror is None else self._mirror.stats()
        return {**self._database.stats(), **self._search.stats(), **replicas, **mirror}

    async def close(self) -> None:
        """Close the pools, and the embedded server if there is one."""
        if self._mirror is not None:
            await self._mirror.close()
        if self._replicas is not None:
            await self._replicas.close()
        await self._database.close()
        if self._embedded is not None:
            await self._embedded.close()

    async def open_replicas(self) -> None:
        """Start to use the read replicas; one that is away is used once it is there."""
        if self._replicas is not None:
            await self._replicas.open()

    async def _write(self, work: Work[int], stage: str) -> int:
        async def watched(connection: Connection) -> int:
            changed = await work(connection)
            if self._replicas is not None:
                # Whoever has stored something must find it: replicas that have not received it are passed over.
                self._saw(await self._read_version(connection))
            return changed

        with self._writes.watched():
            changed = await self._database.run(watched, stage=stage)
        self._forget_state()
        return changed

    def _forget_state(self) -> None:
        self._search.forget_state()
        if self._mirror is not None:
            self._mirror.changed()

    @contextlib.asynccontextmanager
    async def _unpooled(self) -> AsyncIterator[Connection]:
        """A connection for work that takes long."""
        try:
            connection = await connect(self._dsn, self._database.endpoint)
        except StartupError as error:
            logger.warning("%s", error.message)
            raise DatabaseUnavailable(f"no connection to the database; {ADVICE}", retry_after=1) from error
        try:
            yield connection
        finally:
            await connection.close()

    def _saw(self, version: int) -> None:
        self._writes.saw(version)
        if self._mirror is not None:
            self._mirror.saw(version)
        if self._replicas is not None:
            self._replicas.saw(version)

    async def _read_version(self, connection: Connection) -> int:
        return (await self._read_counts(connection)).corpus_version

    async def _read_counts(self, connection: Connection) -> StoreCounts:
        cursor = await connection.execute(
            sql.SQL("SELECT documents, chunks, corpus_version FROM {} WHERE collection = %s").format(schema.REGISTRY),
            [self._collection.name],
        )
        row = await cursor.fetchone()
        if row is None:
            raise DatabaseUnavailable(
                f"collection {self._collection.name} is no longer registered: restart to create it anew"
            )
        return StoreCounts(*row)

    async def _read(self, work: Work[T], stage: str) -> T:
        return await self._database.run(work, stage=stage, timeout=self._provider.timeout, repeatable=True)

    def _half(self, vector: Vectors) -> HalfVector:
        # The sum of the squares is finite only when every number is.
        if vector.shape != (self._collection.dimension,) or not math.isfinite(np.dot(vector, vector)):
            expected = (self._collection.dimension,)
            raise ValueError(f"a query vector has shape {expected} and finite numbers; found shape {vector.shape}")
        return HalfVector(vector)


def _spare(top_k: int, ranking: Ranking) -> int:
    """Rows to fetch when some may fall below a threshold: by another order than that of scores, not the last ones."""
    return top_k if ranking.strategy == "vector" else max(2 * top_k, SHORTEST_LIST)
