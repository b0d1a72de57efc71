"""The `semantic` variant of `rag.chunking`: asks the embedding model where the topic changes, then cuts there.

Sentences travel in the document lane of the model, so questions go before them.
"""

from __future__ import annotations

import asyncio

from sibyl_runtime.providers.protocols import Embedder
from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.techniques.splitting.chunker import MARKERS, Chunker, PlannedChunk
from sibyl_runtime.techniques.splitting.topics import MOST_TOKENS, Gaps, Sentences
from sibyl_runtime.workspace import ChunkingConfig

SENTENCES_AT_ONCE = 256
"""Vectors of this many sentences are in memory at a time. Fixed, so that a text is always embedded in equal batches."""


async def cut_by_topic(
    embedder: Embedder, chunker: Chunker, loaded: LoadedDocument, config: ChunkingConfig
) -> list[PlannedChunk]:
    """The chunks of a document. One that fits into a chunk stays whole, and no sentence of it is embedded."""
    document = loaded.document
    sentences = await asyncio.to_thread(Sentences.of, document.text, embedder.tokenize, markdown=loaded.markdown)
    budget = chunker.budget(document.title)
    if sentences.table.count(0, len(document.text)) <= budget:
        return await asyncio.to_thread(chunker.cut, document, sentences.table, sentences.outline_of_one())
    gaps = Gaps()
    longest = min(MOST_TOKENS, embedder.max_tokens - MARKERS)
    for begin in range(0, len(sentences.starts), SENTENCES_AT_ONCE):
        texts = await asyncio.to_thread(sentences.gists, begin, SENTENCES_AT_ONCE, embedder.tokenize, longest)
        await asyncio.to_thread(gaps.add, await embedder.embed_documents(texts))
    outline = await asyncio.to_thread(
        sentences.topics, gaps.finish(), config.breakpoint_percentile, budget - config.chunk_overlap
    )
    return await asyncio.to_thread(chunker.cut, document, sentences.table, outline)
