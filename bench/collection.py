"""A collection of many chunks, made within a minute, for programmes that measure questions and not the loading.

Twenty thousand texts would take the model ten minutes on two cores. So it reads the sentences that pages are made of,
once each, and a page's vector is the mean of those of its sentences: near to where its own would be, and questions
find pages that speak of what they ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psycopg

from bench.corpus import pages, sentence_forms
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.providers.embedding.graph_cache import cache_directory, graph_name, weights_digest
from sibyl_runtime.providers.embedding.model_files import encoder_shape, find_model, read_model
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.store.records import Chunk, Document, EmbeddedDocument
from sibyl_runtime.workspace import EmbeddingProvider, VectorStoreProvider

BARE_TABLE = "bare"
PRECISION: Final = "int8"
TOKENS_PER_PAGE = 150
_BATCH = 500
# As the product builds it: the same graph of the same vectors, without anything beside it.
_BARE = (
    f"CREATE TABLE {BARE_TABLE} AS SELECT c.id, c.document_id, d.title, c.heading, c.content, c.embedding"
    " FROM documents_chunks c JOIN documents_documents d ON d.id = c.document_id AND d.source = c.source",
    f"ALTER TABLE {BARE_TABLE} ALTER COLUMN embedding SET STORAGE PLAIN",
    f"CREATE INDEX ON {BARE_TABLE} USING hnsw (embedding halfvec_cosine_ops) WITH (m = 16, ef_construction = 64)",
    "VACUUM ANALYZE",
)


@dataclass(frozen=True)
class ModelPaths:
    """The graph and the tokenizer of the default model, on this machine."""

    graph: Path
    tokenizer: Path


async def fill(dsn: str, chunks: int) -> None:
    """Store `chunks` documents of one chunk each, indexed, in the product's collection and in a bare table."""
    embedder = await open_embedder("bench", EmbeddingProvider(precision=PRECISION))
    try:
        forms = sentence_forms()
        vectors = dict(zip(forms, await embedder.embed_documents(forms), strict=True))
        store = await open_store(
            VectorStoreProvider(dsn=dsn), dimension=embedder.dimension, tag=embedder.tag, embedded_directory=None
        )
    finally:
        await embedder.close()
    made = pages(chunks)
    try:
        for start in range(0, chunks, _BATCH):
            batch = made[start : start + _BATCH]
            means = np.stack([np.mean([vectors[form] for form in chosen], axis=0) for _, chosen in batch])
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            await store.replace(
                [
                    EmbeddedDocument(
                        Document(f"page-{start + number:05}.md", "bench", f"Page {start + number}", text),
                        "bench",
                        [Chunk(0, text, "", TOKENS_PER_PAGE)],
                        means[number : number + 1].astype(np.float32),
                    )
                    for number, (text, _) in enumerate(batch)
                ]
            )
        await store.ensure_index()
    finally:
        await store.close()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for statement in _BARE:
            await connection.execute(statement.encode())


def model_paths() -> ModelPaths:
    """Of the model that `fill` has opened, so that its graph is there."""
    provider = EmbeddingProvider()
    files = read_model(find_model(provider.model, {}), provider.model)
    cache = cache_directory({})
    name = graph_name(files, encoder_shape(files), weights_digest(files.weights, cache), PRECISION)
    return ModelPaths(cache / name, files.tokenizer)
