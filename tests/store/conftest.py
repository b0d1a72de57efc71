"""Real servers for the store's tests, and a store that is open."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sibyl_runtime.store.pgvector import PgVectorStore
from tests.store.samples import corpus, load, opened, unit_vectors
from tests.support.postgres import database_dsn as database_dsn
from tests.support.postgres import postgres_server as postgres_server


@pytest.fixture
async def store(database_dsn: str) -> AsyncIterator[PgVectorStore]:
    """An empty collection `documents` of dimension 8, embedder tag `model-a`."""
    opened_store = await opened(database_dsn)
    yield opened_store
    await opened_store.close()


@pytest.fixture
async def indexed(database_dsn: str) -> AsyncIterator[PgVectorStore]:
    """6,000 chunks under an HNSW index; `tenant` t0..t599 has 10 each, `group` 0..19 has 300, `half` is even or odd."""

    def metadata(number: int) -> dict[str, object]:
        return {"tenant": f"t{number}", "group": number % 20, "half": "odd" if number % 2 else "even"}

    opened_store = await opened(database_dsn)
    documents = corpus(unit_vectors(6_000), metadata=metadata)
    await load(opened_store, documents)
    await opened_store.ensure_index()
    yield opened_store
    await opened_store.close()
