"""Embedding as a step: every chunk gets its own vector, in calls of batch_size texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sibyl_runtime.store.records import Chunk, Document
from sibyl_runtime.techniques.batches import ChunkBatch, ChunkedDocument
from sibyl_runtime.techniques.embedding import _embedded
from sibyl_runtime.techniques.splitting.chunker import PlannedChunk
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts


async def test_texts_are_sent_in_calls_of_batch_size_across_documents(parts: Parts, tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"text number {number}")
    parts.document = {"shops": {"rag": {"techniques": {"embedding": {"batch_size": 3}}}}}
    await parts.ingest(tmp_path)
    assert parts.embedder.calls == [3, 3, 1]


async def test_every_chunk_gets_the_vector_of_its_own_text(parts: Parts) -> None:
    texts = [["short", "a much longer text about connection pools and replicas"], ["middle sized text here"]]
    documents = [
        ChunkedDocument(
            Document(str(number), "s", "", " ".join(contents)),
            "f",
            [PlannedChunk(Chunk(place, text, "", 5), 0, text) for place, text in enumerate(contents)],
            known=False,
        )
        for number, contents in enumerate(texts)
    ]
    batch = await _embedded(step_context(parts.services()), 2, ChunkBatch(documents))
    assert [len(document.vectors) for document in batch.documents] == [2, 1]
    for document, contents in zip(batch.documents, texts, strict=True):
        for vector, text in zip(document.vectors, contents, strict=True):
            (alone,) = await parts.embedder.inner.embed_documents([text])
            assert float(np.dot(vector, alone)) > 0.999
