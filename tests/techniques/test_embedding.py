"""Embedding as a step: every chunk gets its own vector, in calls of batch_size texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.errors import StepFailed
from sibyl_runtime.pipeline.ledger import IngestLedger
from sibyl_runtime.providers.protocols import BulkSettings
from sibyl_runtime.store.records import Chunk, Document
from sibyl_runtime.techniques.batches import ChunkBatch, ChunkedDocument, ChunkStream
from sibyl_runtime.techniques.embedding import Embedding, bulk_settings, portions
from sibyl_runtime.techniques.splitting.chunker import PlannedChunk
from sibyl_runtime.workspace import EmbeddingConfig, EmbeddingProvider
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts, nothing


async def test_texts_are_sent_in_calls_of_batch_size_across_documents(parts: Parts, tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"text number {number}")
    parts.document = {"shops": {"rag": {"techniques": {"embedding": {"batch_size": 3}}}}}
    await parts.ingest(tmp_path)
    assert parts.embedder.calls == [3, 3, 1]


async def _one(batch: ChunkBatch) -> AsyncGenerator[ChunkBatch, None]:
    yield batch


@pytest.mark.parametrize("max_concurrent", [None, 3])
async def test_every_chunk_gets_the_vector_of_its_own_text(parts: Parts, max_concurrent: int | None) -> None:
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
    context = step_context(parts.services())
    context.results["chunking"] = {"chunks": ChunkStream(_one(ChunkBatch(documents)), IngestLedger("s"))}
    result = await Embedding().run(context, EmbeddingConfig(batch_size=2, max_concurrent=max_concurrent))
    (batch,) = [batch async for batch in result["vectors"].take()]
    assert [len(document.vectors) for document in batch.documents] == [2, 1]
    for document, contents in zip(batch.documents, texts, strict=True):
        for vector, text in zip(document.vectors, contents, strict=True):
            (alone,) = await parts.embedder.inner.embed_documents([text])
            assert float(np.dot(vector, alone)) > 0.999


async def test_streaming_hands_documents_on_as_soon_as_they_fill_the_calls_of_a_moment(parts: Parts) -> None:
    sizes: dict[str, list[int]] = {}
    for kind in ("batch", "streaming"):
        documents = [_document(f"{kind}-{number}", 1) for number in range(7)]
        context = step_context(parts.services())
        context.results["chunking"] = {"chunks": ChunkStream(_one(ChunkBatch(documents)), IngestLedger("s"))}
        config = EmbeddingConfig.model_validate({"subtechnique": kind, "batch_size": 2})
        batches = [batch async for batch in (await Embedding().run(context, config))["vectors"].take()]
        sizes[kind] = [batch.size for batch in batches]
        assert [one.document.id for batch in batches for one in batch.documents] == [
            one.document.id for one in documents
        ]
    assert sizes == {"batch": [7], "streaming": [2, 2, 2, 1]}


@given(chunks=st.lists(st.integers(0, 9), max_size=30), most=st.none() | st.integers(1, 20))
def test_portions_hold_every_document_once_and_end_when_they_are_full(chunks: list[int], most: int | None) -> None:
    documents = [_document(str(number), size) for number, size in enumerate(chunks)]
    parted = list(portions(ChunkBatch(documents), most))
    assert [one for part in parted for one in part.documents] == documents
    if most is None:
        assert len(parted) == 1
    for part in parted[:-1]:
        assert most is not None
        assert part.size >= most > part.size - len(part.documents[-1].chunks)


def _document(name: str, chunks: int) -> ChunkedDocument:
    planned = [
        PlannedChunk(Chunk(place, f"text {place} of {name}", "", 5), 0, f"{name} {place}") for place in range(chunks)
    ]
    return ChunkedDocument(Document(name, "s", "", name), "f", planned, known=False)


@pytest.mark.parametrize(
    ("step", "provider", "expected"),
    [
        ({}, {}, BulkSettings(1, 0, False)),
        ({"max_concurrent": 4}, {"max_concurrent": 2}, BulkSettings(4, 0, False)),
        ({}, {"max_concurrent": 2}, BulkSettings(2, 0, False)),
        ({"workers": 3}, {}, BulkSettings(3, 3, False)),
        ({"workers": 3}, {"max_concurrent": 2}, BulkSettings(3, 3, False)),
        ({"workers": 2, "max_concurrent": 5, "clear_cache_after_batch": True}, {}, BulkSettings(5, 2, True)),
    ],
)
def test_the_step_wins_over_its_provider(
    step: dict[str, object], provider: dict[str, object], expected: BulkSettings
) -> None:
    found = bulk_settings(EmbeddingConfig.model_validate(step), EmbeddingProvider.model_validate(provider))
    assert found == expected


async def test_max_concurrent_calls_wait_side_by_side(parts: Parts, tmp_path: Path) -> None:
    """Each call waits until three have come: one after the other, the first would wait for ever."""
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text(f"text number {number}")
    there = asyncio.Barrier(3)

    async def meet() -> None:
        await there.wait()

    parts.document = {"shops": {"rag": {"techniques": {"embedding": {"batch_size": 1, "max_concurrent": 3}}}}}
    parts.embedder.before = meet
    async with asyncio.timeout(30):
        await parts.ingest(tmp_path)
    parts.embedder.before = nothing
    assert parts.embedder.calls == [1] * 6
    assert (await parts.stored()).documents == 6


async def test_an_ingest_in_processes_stores_what_one_in_this_process_does(parts: Parts, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"text number {number} of the operator")
    settings = {"batch_size": 2, "workers": 2, "clear_cache_after_batch": True}
    parts.document = {"shops": {"rag": {"techniques": {"embedding": settings}}}}
    await parts.ingest(tmp_path)
    assert parts.embedder.bulks == [BulkSettings(2, 2, True)]
    assert (await parts.stored()).documents == 5
    (best, *_) = await parts.search("text number 3 of the operator", top_k=1)
    assert best.document_id.endswith("3.txt")
    assert best.score > 0.95


async def test_an_ingest_of_what_has_not_changed_opens_nothing(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("as it was")
    await parts.ingest(tmp_path)
    await parts.ingest(tmp_path)
    assert len(parts.embedder.bulks) == 1


async def test_a_call_that_fails_ends_the_others_and_stores_nothing(parts: Parts, tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"text number {number}")
    turns = iter(range(100))
    ended: list[str] = []

    async def third_fails() -> None:
        if next(turns) == 2:
            raise StepFailed("the third call fails")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    parts.document = {"shops": {"rag": {"techniques": {"embedding": {"batch_size": 1, "max_concurrent": 3}}}}}
    parts.embedder.before = third_fails
    with pytest.raises(StepFailed, match="the third call fails"):
        await parts.ingest(tmp_path)
    parts.embedder.before = nothing
    assert ended == ["ended", "ended"]
    assert (await parts.stored()).documents == 0
