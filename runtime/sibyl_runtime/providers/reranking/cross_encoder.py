"""The one thread that runs a cross-encoder, and the queue of questions in front of it.

Its own thread, so that a question that reranks does not hold up those that only embed. Batches are small, as those of
the embedding model are: a call that nobody waits for any more ends after its current batch.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from sibyl_runtime.errors import Overloaded
from sibyl_runtime.providers.embedding.encoder import plan_batches
from sibyl_runtime.providers.protocols import Relevance, Vectors
from sibyl_runtime.providers.reranking.pairs import Pair, PairTokenizer

BATCH_PAIRS = 64
MOST_WAITING = 32


class Scorer(Protocol):
    """A loaded model. Used by one thread at a time."""

    @property
    def batch_tokens(self) -> int:
        """Tokens, padding included, above which a larger batch is no faster."""

    def score(self, batch: Sequence[Pair]) -> Vectors:
        """Shape (len(batch),), each 0 to 1."""


class LocalCrossEncoder:
    """A `CrossEncoder` over a model in this process."""

    def __init__(self, tag: str, tokenizer: PairTokenizer, scorer: Scorer, *, most_waiting: int = MOST_WAITING) -> None:
        self._tag = tag
        self._tokenizer = tokenizer
        self._scorer = scorer
        self._most_waiting = most_waiting
        self._calls = 0
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sibyl-reranking")

    @property
    def tag(self) -> str:
        return self._tag

    async def compare(self, question: str, passages: Sequence[str]) -> Relevance:
        """One score per passage, in their order. Raises InvalidParameters for a question that is too long, Overloaded
        when many calls wait already or the model is being closed."""
        if self._closing.is_set():
            raise _closing()
        if self._calls > self._most_waiting:
            raise Overloaded(f"the reranking queue is full: {self._most_waiting} questions wait", retry_after=1.0)
        abandoned = threading.Event()
        self._calls += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._compare, question, passages, abandoned)
        finally:
            abandoned.set()
            self._calls -= 1

    async def close(self) -> None:
        """End the thread after its current batch; whoever still waits gets Overloaded. May be called twice."""
        self._closing.set()
        await asyncio.to_thread(self._thread.shutdown)

    # --- below: the worker thread

    def _compare(self, question: str, passages: Sequence[str], abandoned: threading.Event) -> Relevance:
        pairs = self._tokenizer.pairs(question, passages)
        scores = np.empty(len(pairs), dtype=np.float32)
        lengths = [len(pair.ids) for pair in pairs]
        for batch in plan_batches(lengths, max_tokens=self._scorer.batch_tokens, max_texts=BATCH_PAIRS):
            if self._closing.is_set() or abandoned.is_set():
                raise _closing()
            scores[batch] = self._scorer.score([pairs[position] for position in batch])
        return Relevance(scores.tolist(), sum(pair.shortened for pair in pairs))


def _closing() -> Overloaded:
    return Overloaded("the reranking model is shutting down", retry_after=1.0)
