"""`rag.embedding`: chunks become vectors, in calls of `batch_size` texts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import numpy as np

from sibyl_runtime.errors import StepFailed
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.records import EmbeddedDocument
from sibyl_runtime.techniques.batches import ChunkBatch, ChunkStream, VectorBatch, VectorStream
from sibyl_runtime.techniques.providers import require_default
from sibyl_runtime.workspace import EmbeddingConfig


class Embedding:
    """Reads the chunks of `rag.chunking`. Yields VectorBatches of documents that are ready to be stored."""

    id = "rag.embedding"
    stage = "embed"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: EmbeddingConfig) -> Mapping[str, Any]:
        """Embedding starts when a later step asks."""
        require_default(context, "embedding", config.provider, context.services.workspace.default_embedding[0])
        chunks = context.stream(ChunkStream, made_by="rag.chunking")
        return {"vectors": VectorStream(_batches(context, config.batch_size, chunks), chunks.ledger)}


async def _batches(context: StepContext, batch_size: int, chunks: ChunkStream) -> AsyncGenerator[VectorBatch, None]:
    async for batch in chunks.take():
        with context.timed("embed"):
            embedded = await _embedded(context, batch_size, batch)
        yield embedded


async def _embedded(context: StepContext, batch_size: int, batch: ChunkBatch) -> VectorBatch:
    texts = [planned.text for document in batch.documents for planned in document.chunks]
    vectors = await _vectors(context, batch_size, texts)
    ready: list[EmbeddedDocument] = []
    taken = 0
    for document in batch.documents:
        chunks = [planned.chunk for planned in document.chunks]
        ready.append(
            EmbeddedDocument(document.document, document.fingerprint, chunks, vectors[taken : taken + len(chunks)])
        )
        taken += len(chunks)
    return VectorBatch(ready, known=sum(document.known for document in batch.documents))


async def _vectors(context: StepContext, batch_size: int, texts: Sequence[str]) -> Vectors:
    """Shape (len(texts), dimension), in the order of `texts`.

    Texts are sent longest first: texts of one length share a batch in the model without padding, which halves its
    work on mixed lengths, and memory peaks at the start, not somewhere in the middle.
    """
    embedder = context.services.embedder
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        made = await embedder.embed_documents([texts[index] for index in chosen])
        if made.shape != (len(chosen), embedder.dimension):
            raise StepFailed(f"the embedding model returned shape {made.shape} for {len(chosen)} texts")
        vectors[chosen] = made
    return vectors
