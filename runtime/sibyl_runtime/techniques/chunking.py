"""`rag.chunking`: documents become chunks that the embedding model reads whole.

A document that the store already holds in this very form is dropped here, before it costs anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from sibyl_runtime.errors import StartupError
from sibyl_runtime.pipeline.context import IngestLedger, StepContext
from sibyl_runtime.providers.protocols import Embedder
from sibyl_runtime.techniques.batches import ChunkBatch, ChunkedDocument, ChunkStream, DocumentStream
from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.techniques.fingerprint import fingerprint
from sibyl_runtime.techniques.load_documents import BATCH_CHARACTERS
from sibyl_runtime.techniques.splitting.chunker import Chunker, PlannedChunk
from sibyl_runtime.techniques.topics import cut_by_topic
from sibyl_runtime.workspace import ChunkingConfig


class Chunking:
    """Reads the documents of `data.load_documents`. Yields ChunkBatches of new and changed documents."""

    id = "rag.chunking"
    stage = "chunk"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: ChunkingConfig) -> Mapping[str, Any]:
        """Raises StartupError when the model cannot read chunks of this size."""
        longest = context.services.embedder.max_tokens
        if config.chunk_size > longest:
            raise StartupError(
                f"rag.chunking: chunk_size is {config.chunk_size} tokens, but the embedding model reads at most "
                f"{longest} (max_tokens); set chunk_size to {longest} or less, or choose another model",
                details={"chunk_size": config.chunk_size, "max_tokens": longest},
            )
        documents = context.stream(DocumentStream, made_by="data.load_documents")
        return {"chunks": ChunkStream(_batches(context, config, documents), documents.ledger)}


async def _batches(
    context: StepContext, config: ChunkingConfig, documents: DocumentStream
) -> AsyncGenerator[ChunkBatch, None]:
    waiting: list[LoadedDocument] = []
    async for batch in documents.take():
        waiting.extend(batch.documents)
        while len(waiting) >= config.batch_size or _characters(waiting) >= BATCH_CHARACTERS:
            yield await _chunked(context, config, documents, waiting[: config.batch_size])
            del waiting[: config.batch_size]
    if waiting:
        yield await _chunked(context, config, documents, waiting)


def _characters(documents: Sequence[LoadedDocument]) -> int:
    return sum(len(loaded.document.text) for loaded in documents)


async def _chunked(
    context: StepContext, config: ChunkingConfig, stream: DocumentStream, documents: Sequence[LoadedDocument]
) -> ChunkBatch:
    with context.timed("chunk"):
        embedder = context.services.embedder
        known = await context.services.store.fingerprints([loaded.document.id for loaded in documents])
        chunker = Chunker(
            embedder.tokenize,
            subtechnique=config.subtechnique,
            chunk_size=config.chunk_size,
            chunk_overlap=config.chunk_overlap,
        )
        changed: list[ChunkedDocument] = []
        for loaded in documents:
            # Off the event loop: a large document takes seconds, and the process may be answering questions.
            current = await asyncio.to_thread(fingerprint, loaded, config, embedder.tag)
            stored = known.get(loaded.document.id, {})
            former = stored.get(loaded.document.source)
            _note_copies(stored, current, stream.ledger)
            if former == current:
                stream.ledger.unchanged += 1
                continue
            chunks = await _cut(embedder, chunker, loaded, config)
            changed.append(ChunkedDocument(loaded.document, current, chunks, known=former is not None))
    return ChunkBatch(changed)


def _note_copies(stored: Mapping[str, str], current: str, ledger: IngestLedger) -> None:
    """`stored` are the fingerprints of the documents with this id, by source."""
    ledger.copies.update(source for source, other in stored.items() if other == current and source != ledger.source)


async def _cut(
    embedder: Embedder, chunker: Chunker, loaded: LoadedDocument, config: ChunkingConfig
) -> list[PlannedChunk]:
    if config.subtechnique == "semantic":
        return await cut_by_topic(embedder, chunker, loaded, config)
    return await asyncio.to_thread(chunker.chunks, loaded.document, markdown=loaded.markdown)
