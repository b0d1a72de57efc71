"""`rag.embedding`: chunks become vectors, in calls of `batch_size` texts, of which several may go on at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import numpy as np

from sibyl_runtime.errors import StepFailed
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import BulkSettings, EmbedDocuments, Vectors
from sibyl_runtime.store.records import EmbeddedDocument
from sibyl_runtime.techniques.batches import ChunkBatch, ChunkedDocument, ChunkStream, VectorBatch, VectorStream
from sibyl_runtime.techniques.providers import require_default
from sibyl_runtime.workspace import EmbeddingConfig, EmbeddingProvider


class Embedding:
    """Reads the chunks of `rag.chunking`. Yields VectorBatches of documents that are ready to be stored."""

    id = "rag.embedding"
    stage = "embed"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: EmbeddingConfig) -> Mapping[str, Any]:
        """Embedding starts when a later step asks."""
        name, provider = context.services.workspace.default_embedding
        require_default(context, "embedding", config.provider, name)
        chunks = context.stream(ChunkStream, made_by="rag.chunking")
        settings = bulk_settings(config, provider)
        return {"vectors": VectorStream(_batches(context, config, settings, chunks), chunks.ledger)}


def bulk_settings(config: EmbeddingConfig, provider: EmbeddingProvider) -> BulkSettings:
    """What the step says; where it does not say how many calls go on at once, what its provider says."""
    workers = config.workers or 0
    return BulkSettings(
        max_concurrent=config.max_concurrent or max(provider.max_concurrent or 1, workers),
        workers=workers,
        free_memory=config.clear_cache_after_batch,
    )


def portions(batch: ChunkBatch, most_chunks: int | None) -> Iterator[ChunkBatch]:
    """`batch` in its order, in parts that end with the document that brings them to `most_chunks`; None: as it is."""
    if most_chunks is None or batch.size <= most_chunks:
        yield batch
        return
    documents: list[ChunkedDocument] = []
    held = 0
    for document in batch.documents:
        documents.append(document)
        held += len(document.chunks)
        if held >= most_chunks:
            yield ChunkBatch(documents)
            documents, held = [], 0
    if documents:
        yield ChunkBatch(documents)


async def _batches(
    context: StepContext, config: EmbeddingConfig, settings: BulkSettings, chunks: ChunkStream
) -> AsyncGenerator[VectorBatch, None]:
    streaming = config.subtechnique == "streaming"
    most_chunks = config.batch_size * settings.max_concurrent if streaming else None
    async with AsyncExitStack() as opened:
        embed: EmbedDocuments | None = None
        async for batch in chunks.take():
            for part in portions(batch, most_chunks):
                with context.timed("embed"):
                    # Only now: an ingest of documents that have not changed starts no process.
                    if embed is None and part.size:
                        embed = await opened.enter_async_context(context.services.embedder.bulk(settings))
                    texts = [planned.text for document in part.documents for planned in document.chunks]
                    vectors = np.empty((len(texts), context.services.embedder.dimension), dtype=np.float32)
                    if embed is not None:
                        await _fill(vectors, texts, embed, config.batch_size, settings.max_concurrent)
                yield _with_vectors(part, vectors)


def _with_vectors(batch: ChunkBatch, vectors: Vectors) -> VectorBatch:
    ready: list[EmbeddedDocument] = []
    taken = 0
    for document in batch.documents:
        chunks = [planned.chunk for planned in document.chunks]
        ready.append(
            EmbeddedDocument(document.document, document.fingerprint, chunks, vectors[taken : taken + len(chunks)])
        )
        taken += len(chunks)
    return VectorBatch(ready, known=sum(document.known for document in batch.documents))


async def _fill(
    vectors: Vectors, texts: Sequence[str], embed: EmbedDocuments, batch_size: int, max_concurrent: int
) -> None:
    """Write the vector of each text into its row, `max_concurrent` calls of `batch_size` texts at once.

    Texts are sent longest first: texts of one length share a batch in the model without padding, which halves its
    work on mixed lengths, and memory peaks at the start, not somewhere in the middle.
    """
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    calls = iter([order[start : start + batch_size] for start in range(0, len(order), batch_size)])

    async def one_after_the_other() -> None:
        for chosen in calls:
            made = await embed([texts[index] for index in chosen])
            if made.shape != (len(chosen), vectors.shape[1]):
                raise StepFailed(f"the embedding model returned shape {made.shape} for {len(chosen)} texts")
            vectors[chosen] = made

    tasks = [asyncio.create_task(one_after_the_other()) for _ in range(max_concurrent)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
