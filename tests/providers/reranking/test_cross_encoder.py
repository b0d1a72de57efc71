"""The thread of a cross-encoder: its queue, its end, and callers that give up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sibyl_runtime.errors import Overloaded
from sibyl_runtime.providers.protocols import Relevance, Vectors
from sibyl_runtime.providers.reranking.cross_encoder import BATCH_PAIRS, LocalCrossEncoder
from sibyl_runtime.providers.reranking.pairs import Pair, PairTokenizer
from tests.support.tiny_cross_encoder import write_cross_encoder


class GatedScorer:
    """Scores a pair by its last word, when the test lets it."""

    batch_tokens = 512

    def __init__(self, *, is_open: bool = True) -> None:
        self.started, self.gate = threading.Event(), threading.Event()
        self.batches: list[int] = []
        if is_open:
            self.gate.set()

    def score(self, batch: Sequence[Pair]) -> Vectors:
        self.started.set()
        assert self.gate.wait(20)
        self.batches.append(len(batch))
        return np.array([pair.ids[-2] / 100 for pair in batch], dtype=np.float32)


def scores_of(relevance: Relevance) -> list[float]:
    """The ids of the last words, in hundredths, as they were before float32."""
    return [round(score, 4) for score in relevance.scores]


@pytest.fixture
def tokenizer(tmp_path: Path) -> PairTokenizer:
    return PairTokenizer.load(write_cross_encoder(tmp_path / "tiny") / "tokenizer.json", 24)


async def test_scores_come_in_the_order_of_the_passages_whatever_their_batches(tokenizer: PairTokenizer) -> None:
    scorer = GatedScorer()
    model = LocalCrossEncoder("tag", tokenizer, scorer)
    words = [f"w{number % 60}" for number in range(3 * BATCH_PAIRS)]
    passages = [("w1 " * (number % 7)) + word for number, word in enumerate(words)]
    relevance = await model.compare("w2", passages)
    await model.close()
    assert relevance.scores == pytest.approx([(int(word[1:]) + 4) / 100 for word in words])
    assert len(scorer.batches) > 1


async def test_a_full_queue_refuses_and_says_when_to_come_back(tokenizer: PairTokenizer) -> None:
    scorer = GatedScorer(is_open=False)
    model = LocalCrossEncoder("tag", tokenizer, scorer, most_waiting=1)
    calls = [asyncio.create_task(model.compare("w1", ["w2"])) for _ in range(2)]
    await asyncio.to_thread(scorer.started.wait, 20)
    with pytest.raises(Overloaded, match="the reranking queue is full: 1 questions wait") as caught:
        await model.compare("w1", ["w2"])
    assert caught.value.retry_after == 1.0
    scorer.gate.set()
    assert [scores_of(relevance) for relevance in await asyncio.gather(*calls)] == [[0.06]] * 2
    assert scores_of(await model.compare("w1", ["w2"])) == [0.06]
    await model.close()


async def test_a_call_that_nobody_waits_for_ends_after_its_batch(tokenizer: PairTokenizer) -> None:
    scorer = GatedScorer(is_open=False)
    model = LocalCrossEncoder("tag", tokenizer, scorer)
    call = asyncio.create_task(model.compare("w1", ["w2"] * (10 * BATCH_PAIRS)))
    await asyncio.to_thread(scorer.started.wait, 20)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    scorer.gate.set()
    assert scores_of(await model.compare("w1", ["w3"])) == [0.07]
    await model.close()
    assert len(scorer.batches) == 2


async def test_closing_ends_the_thread_and_refuses_who_still_waits(tokenizer: PairTokenizer) -> None:
    scorer = GatedScorer(is_open=False)
    model = LocalCrossEncoder("tag", tokenizer, scorer)
    waiting = asyncio.create_task(model.compare("w1", ["w2"] * (10 * BATCH_PAIRS)))
    await asyncio.to_thread(scorer.started.wait, 20)
    closing = asyncio.create_task(model.close())
    await asyncio.sleep(0)
    scorer.gate.set()
    with pytest.raises(Overloaded, match="the reranking model is shutting down"):
        await waiting
    await closing
    await model.close()
    with pytest.raises(Overloaded, match="the reranking model is shutting down"):
        await model.compare("w1", ["w2"])


async def test_what_the_model_raises_reaches_the_caller_and_the_next_call_works(tokenizer: PairTokenizer) -> None:
    class Failing(GatedScorer):
        def score(self, batch: Sequence[Pair]) -> Vectors:
            if not self.started.is_set():
                self.started.set()
                raise RuntimeError("out of memory")
            return super().score(batch)

    model = LocalCrossEncoder("tag", tokenizer, Failing())
    with pytest.raises(RuntimeError, match="out of memory"):
        await model.compare("w1", ["w2"])
    assert scores_of(await model.compare("w1", ["w2"])) == [0.06]
    await model.close()
