"""Documents and vectors for tests: small, seeded, and shaped like real embeddings (clustered unit vectors)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Chunk, Document, EmbeddedDocument
from sibyl_runtime.workspace import VectorStoreProvider

DIMENSION = 8
TAG = "model-a"


def provider(dsn: str | None, **settings: Any) -> VectorStoreProvider:
    """Small pool, short waits."""
    return VectorStoreProvider(dsn=dsn, **{"pool_size": 1, "max_overflow": 3, **settings})


async def opened(dsn: str, *, dimension: int = DIMENSION, tag: str = TAG, **settings: Any) -> PgVectorStore:
    """A store over `dsn`."""
    return await open_store(provider(dsn, **settings), dimension=dimension, tag=tag, embedded_directory=None)


def unit_vectors(count: int, dimension: int = DIMENSION, *, seed: int = 0, clusters: int = 50) -> Vectors:
    """Shape (count, dimension)."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dimension))
    vectors = centres[random.integers(0, clusters, count)] + 0.5 * random.normal(size=(count, dimension))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def axis(position: int, dimension: int = DIMENSION) -> Vectors:
    """The unit vector along one axis."""
    vector = np.zeros(dimension, dtype=np.float32)
    vector[position] = 1.0
    return vector


def document(
    id_: str,
    vectors: Vectors | Sequence[Vectors],
    *,
    source: str = "source-a",
    metadata: Mapping[str, Any] | None = None,
    fingerprint: str = "f1",
    text: str = "text",
) -> EmbeddedDocument:
    """A document with one chunk per vector; chunk n reads `<text> n`."""
    rows = np.array(vectors, dtype=np.float32)
    chunks = [Chunk(ordinal, f"{text} {ordinal}", "Guide > Part", 5) for ordinal in range(len(rows))]
    return EmbeddedDocument(Document(id_, source, f"Title of {id_}", "", metadata or {}), fingerprint, chunks, rows)


def corpus(
    vectors: Vectors, *, chunks: int = 10, metadata: Callable[[int], Mapping[str, Any]] | None = None
) -> list[EmbeddedDocument]:
    """Documents of `chunks` chunks each; `metadata` by number of the document."""
    return [
        document(f"d{start // chunks}", vectors[start : start + chunks],
                 metadata=metadata(start // chunks) if metadata else None)
        for start in range(0, len(vectors), chunks)
    ]  # fmt: skip


async def load(store: PgVectorStore, documents: Sequence[EmbeddedDocument], *, batch: int = 100) -> None:
    """Store in batches."""
    for start in range(0, len(documents), batch):
        await store.replace(documents[start : start + batch])


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    """Wait until `condition` holds; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.02)
