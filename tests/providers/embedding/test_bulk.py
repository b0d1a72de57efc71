"""Several batches at once on one model: the same vectors, and nothing left running."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from sibyl_runtime.errors import IngestError
from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.providers.embedding.bulk import in_threads
from sibyl_runtime.providers.protocols import BulkSettings
from tests.providers.embedding.test_worker import HeldEncoder, running
from tests.support.conditions import until

TEXTS = [f"how long does the service keep backup number {number}" for number in range(24)]


def threads() -> int:
    return sum(thread.name == "sibyl-embedding" for thread in threading.enumerate())


@pytest.mark.parametrize("max_concurrent", [1, 4])
async def test_the_vectors_are_those_of_one_batch_after_the_other(int8: LocalEmbedder, max_concurrent: int) -> None:
    expected = await int8.embed_documents(TEXTS)
    before = threads()
    async with int8.bulk(BulkSettings(max_concurrent, free_memory=True)) as embed:
        assert threads() == before + max_concurrent - 1
        parts = await asyncio.gather(*(embed(TEXTS[start : start + 6]) for start in range(0, 24, 6)))
    assert threads() == before
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)


async def test_batches_are_in_the_model_at_the_same_time() -> None:
    encoder = HeldEncoder()
    inside = threading.Barrier(3)
    encode = encoder.encode

    def together(batch: list[list[int]]) -> object:
        inside.wait(timeout=5)
        return encode(batch)

    encoder.encode = together  # type: ignore[assignment, method-assign]
    async with running(encoder) as worker, in_threads(worker, lambda text: [int(text)], BulkSettings(3)) as embed:
        found = await asyncio.gather(embed(["1"]), embed(["2"]), embed(["3"]))
    assert [float(vectors[0, 0]) for vectors in found] == [1, 2, 3]


async def test_more_calls_than_threads_wait_their_turn() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker, in_threads(worker, lambda text: [int(text)], BulkSettings(2)) as embed:
        encoder.hold()
        calls = [asyncio.ensure_future(embed([str(number)])) for number in range(5)]
        await until(lambda: encoder.entered.is_set())
        assert not any(call.done() for call in calls)
        encoder.release()
        found = await asyncio.gather(*calls)
    assert [float(vectors[0, 0]) for vectors in found] == [0, 1, 2, 3, 4]


async def test_a_text_that_is_too_long_is_refused_and_the_thread_goes_on(int8: LocalEmbedder) -> None:
    async with int8.bulk(BulkSettings(2)) as embed:
        for _ in range(3):
            with pytest.raises(IngestError, match=r"set rag\.chunking chunk_size to"):
                await embed(["word " * 600])
        assert (await embed(["a short one"])).shape == (1, 384)
