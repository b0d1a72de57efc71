"""Opens a vector store: the server that is there or the embedded one, its schema, its pools."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store import schema
from sibyl_runtime.store.collection import DISTANCE_METRICS, Collection
from sibyl_runtime.store.connection import await_server
from sibyl_runtime.store.embedded import EmbeddedPostgres, running_socket_dsn
from sibyl_runtime.store.failures import endpoint_of
from sibyl_runtime.store.faiss_index import load_faiss
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.pool import Database, open_database
from sibyl_runtime.store.replicas import Replica
from sibyl_runtime.store.supervision import Supervision
from sibyl_runtime.workspace import VectorStoreProvider


async def open_store(
    provider: VectorStoreProvider, *, dimension: int, tag: str, embedded_directory: Path | None, wait: float = 0.0
) -> PgVectorStore:
    """Open the collection that `provider` names, for vectors of `dimension` made by the embedder `tag`.

    A database that is not there yet is waited for, `wait` seconds at most.
    Without `provider.dsn`, an embedded PostgreSQL runs in `embedded_directory` until the store is closed.
    Raises StartupError: database unreachable, pgvector missing or too old, another dimension or embedder.
    """
    if provider.dimension is not None and provider.dimension != dimension:
        raise StartupError(
            f"`providers.vector_store.<name>.dimension` is {provider.dimension}, and the embedding model `{tag}` makes "
            f"dimension {dimension}: correct it or remove it"
        )
    _check_replicas(provider)
    if provider.kind == "faiss":
        # In a thread: the import reads 60 MB.
        await asyncio.to_thread(load_faiss)
    collection = Collection(
        provider.collection_name, dimension, tag, DISTANCE_METRICS[provider.distance_metric], provider.text_search
    )
    if provider.dsn is not None:
        # A command beside a server that runs the embedded database is pointed at it.
        ours = embedded_directory is not None and provider.dsn == running_socket_dsn(embedded_directory)
        return await _open(provider.dsn, provider, collection, None, wait, ours=ours)
    if embedded_directory is None:
        raise StartupError("no database: set `providers.vector_store.<name>.dsn`, for example ${DATABASE_URL}")
    embedded = Supervision(EmbeddedPostgres(embedded_directory))
    try:
        return await _open(await embedded.start(), provider, collection, embedded, ours=True)
    except BaseException:
        await embedded.close()
        raise


def _check_replicas(provider: VectorStoreProvider) -> None:
    field = "`providers.vector_store.<name>"
    if provider.replicas and provider.dsn is None:
        raise StartupError(f"{field}.replicas` are replicas of a database that is not named: set {field}.dsn`")
    if "read_strategy" in provider.model_fields_set and not provider.replicas:
        raise StartupError(f"{field}.read_strategy` has no effect without read replicas: set {field}.replicas`")


async def _open(
    dsn: str,
    provider: VectorStoreProvider,
    collection: Collection,
    embedded: Supervision | None,
    wait: float = 0.0,
    *,
    ours: bool,
) -> PgVectorStore:
    endpoint = endpoint_of(dsn)
    connection = await await_server(dsn, endpoint, wait)
    try:
        await schema.prepare(connection, collection, endpoint, embedded=ours)
    finally:
        await connection.close()
    replicas = [Replica(Database(replica.dsn, provider)) for replica in provider.replicas]
    store = PgVectorStore(dsn, await open_database(dsn, provider), collection, provider, embedded, replicas)
    try:
        await store.open_replicas()
    except BaseException:
        await store.close()
        raise
    return store
