"""Stores that search in a FAISS index, and those that scan, over the same collection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Hit
from tests.store.samples import eventually, opened


@asynccontextmanager
async def faiss(dsn: str, index_type: str = "Flat", **settings: Any) -> AsyncIterator[PgVectorStore]:
    store = await opened(dsn, kind="faiss", index_type=index_type, **settings)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def exact(dsn: str, **settings: Any) -> AsyncIterator[PgVectorStore]:
    store = await opened(dsn, index_type="none", **settings)
    try:
        yield store
    finally:
        await store.close()


def ids(hits: Sequence[Hit]) -> list[int]:
    return [hit.chunk_id for hit in hits]


async def serves(store: PgVectorStore, factory: str) -> None:
    """Wait until the index that was asked for has taken its place."""

    async def there() -> bool:
        return (await store.index_state()).name == factory

    await store.prepare_search()
    await eventually(there)
