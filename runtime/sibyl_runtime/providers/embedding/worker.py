"""The one thread that runs the embedding model, with two lanes in front of it.

Why one thread: a second one would share the same cores and only spread the waiting. Why two lanes: somebody waits for
a query, nobody for a document. Queries always go first; documents give way between batches. There is no delay to
collect a batch: whatever is queued when the thread is free becomes the next one.

Lock order is trivial, there is one lock. It is held for moments, so coroutines may take it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sibyl_runtime.errors import Overloaded, SibylError
from sibyl_runtime.providers.embedding.encoder import Encoder, TokenIds, plan_batches
from sibyl_runtime.providers.embedding.memory import KeepsCache, free_memory
from sibyl_runtime.providers.protocols import Vectors

Tokenise = Callable[[str], TokenIds]

# Documents tokenised in one go, before a query gets its turn.
TOKENISE_STEP = 16

log = logging.getLogger(__name__)


@dataclass
class _Query:
    """One text in the query lane and everybody who waits for it."""

    text: str
    ids: TokenIds
    arrived: float
    waiters: list[asyncio.Future[Vectors]] = field(default_factory=list)


@dataclass
class _Documents:
    """One call in the document lane. `steps` does a batch per step and returns the vectors."""

    steps: Iterator[Vectors | None]
    waiter: asyncio.Future[Vectors]
    abandoned: bool = False


@dataclass
class _Counts:
    queries: int = 0
    queries_shared: int = 0
    queries_refused: int = 0
    query_batches: int = 0
    query_wait_seconds: float = 0.0
    query_seconds: float = 0.0
    documents: int = 0
    document_batches: int = 0


class EmbeddingWorker:
    """Owns the encoder and the thread. Coroutines of any event loop may call it."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_queued_queries: int,
        max_batch_texts: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._encoder = encoder
        self._max_queued_queries = max_queued_queries
        self._max_batch_texts = max_batch_texts
        self._clock = clock
        self._queries: deque[_Query] = deque()
        self._in_flight: dict[str, _Query] = {}
        self._documents: deque[_Documents] = deque()
        self._counts = _Counts()
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sibyl-embedding", daemon=True)
        self._thread.start()

    async def query(self, text: str, ids: TokenIds) -> Vectors:
        """The vector of one query, shape (dimension,). The same text in flight is computed once for all who ask.

        Raises Overloaded when the lane is full, with the seconds after which it is probably worth asking again.
        """
        waiter: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        with self._changed:
            query = self._admit(text, ids)
            query.waiters.append(waiter)
            self._changed.notify()
        try:
            return await waiter
        finally:
            if waiter.cancelled():
                self._withdraw(query, waiter)

    async def documents(self, texts: Sequence[str], tokenise: Tokenise) -> Vectors:
        """The vectors of `texts`, shape (len(texts), dimension), in their order.

        The lane has no bound of its own: a call returns only when its texts are done, so callers hold themselves back,
        and texts are tokenised only when their turn has come. What `tokenise` raises is raised here.
        """
        waiter: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        job = _Documents(self._document_steps(texts, tokenise), waiter)
        with self._changed:
            self._refuse_when_closing()
            self._documents.append(job)
            self._changed.notify()
        try:
            return await waiter
        finally:
            if waiter.cancelled():
                job.abandoned = True

    def beside(self) -> EmbeddingWorker:
        """Another thread over the same model, for an ingest that asks for several batches at once."""
        return EmbeddingWorker(
            self._encoder, max_queued_queries=self._max_queued_queries, max_batch_texts=self._max_batch_texts
        )

    def free_memory(self) -> None:
        """Hand memory that nothing uses back to the system; milliseconds. From any thread."""
        if isinstance(self._encoder, KeepsCache):
            self._encoder.empty_cache()
        free_memory()

    def stats(self) -> dict[str, float]:
        """Depth of both lanes now, and totals since the start: counts, and seconds that queries waited and took."""
        with self._changed:
            depths = {"query_queue_depth": len(self._queries), "document_queue_depth": len(self._documents)}
            return {**depths, **vars(self._counts)}

    async def close(self) -> None:
        """End the thread after its current batch. Whoever still waits gets Overloaded. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _admit(self, text: str, ids: TokenIds) -> _Query:
        self._refuse_when_closing()
        if query := self._in_flight.get(text):
            self._counts.queries_shared += 1
            return query
        if len(self._queries) >= self._max_queued_queries:
            self._counts.queries_refused += 1
            raise Overloaded(
                f"the embedding queue is full: {len(self._queries)} queries wait", retry_after=self._seconds_to_drain()
            )
        query = _Query(text, ids, self._clock())
        self._queries.append(query)
        self._in_flight[text] = query
        return query

    def _withdraw(self, query: _Query, waiter: asyncio.Future[Vectors]) -> None:
        """Forget a caller that gave up, and its text too when nobody else waits for it and it has not started."""
        with self._changed:
            if waiter in query.waiters:
                query.waiters.remove(waiter)
            if not query.waiters and query in self._queries:
                self._queries.remove(query)
                del self._in_flight[query.text]

    def _seconds_to_drain(self) -> float:
        each = self._counts.query_seconds / self._counts.queries if self._counts.queries else 0.0
        return float(max(1, math.ceil(each * len(self._queries))))

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise _closing()

    # --- below: the worker thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queries or self._documents or self._closing)
                if self._closing:
                    break
                queries = self._take_queries()
                job = None if queries else self._documents[0]
            if job is not None:
                self._advance(job)
            else:
                self._answer(queries)
        self._refuse_all()

    def _take_queries(self) -> list[_Query]:
        now = self._clock()
        taken = [self._queries.popleft() for _ in range(min(len(self._queries), self._max_batch_texts))]
        self._counts.query_wait_seconds += sum(now - query.arrived for query in taken)
        return taken

    def _answer(self, queries: list[_Query]) -> None:
        lengths = [len(query.ids) for query in queries]
        for batch in self._batches(lengths):
            members = [queries[position] for position in batch]
            started = self._clock()
            outcome = self._encode([query.ids for query in members])
            with self._changed:
                self._counts.query_batches += 1
                self._counts.queries += len(members)
                self._counts.query_seconds += self._clock() - started
                for query in members:
                    del self._in_flight[query.text]
                answered = [(row, waiter) for row, query in enumerate(members) for waiter in query.waiters]
            for row, waiter in answered:
                _settle(waiter, outcome if isinstance(outcome, Exception) else outcome[row].copy())

    def _encode(self, batch: Sequence[TokenIds]) -> Vectors | Exception:
        try:
            return self._encoder.encode(batch)
        except Exception as error:
            log.exception("embedding a batch of %d texts failed", len(batch))
            return error

    def _advance(self, job: _Documents) -> None:
        """One step of the oldest document call."""
        outcome: Vectors | Exception | None = None
        if not job.abandoned:
            try:
                outcome = next(job.steps)
            except SibylError as error:
                outcome = error
            except Exception as error:
                log.exception("embedding documents failed")
                outcome = error
        if job.abandoned or outcome is not None:
            with self._changed:
                self._documents.popleft()
        if outcome is not None:
            _settle(job.waiter, outcome)

    def _document_steps(self, texts: Sequence[str], tokenise: Tokenise) -> Iterator[Vectors | None]:
        """None after each step of work; at the end, the vectors."""
        ids: list[TokenIds] = []
        for start in range(0, len(texts), TOKENISE_STEP):
            ids += [tokenise(text) for text in texts[start : start + TOKENISE_STEP]]
            yield None
        vectors = np.empty((len(texts), self._encoder.dimension), dtype=np.float32)
        for batch in self._batches([len(text) for text in ids]):
            vectors[batch] = self._encoder.encode([ids[position] for position in batch])
            with self._changed:
                self._counts.document_batches += 1
                self._counts.documents += len(batch)
            yield None
        yield vectors

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        return plan_batches(lengths, max_tokens=self._encoder.batch_tokens, max_texts=self._max_batch_texts)

    def _refuse_all(self) -> None:
        with self._changed:
            waiters = [waiter for query in self._in_flight.values() for waiter in query.waiters]
            waiters += [job.waiter for job in self._documents]
            self._queries.clear()
            self._documents.clear()
            self._in_flight.clear()
        for waiter in waiters:
            _settle(waiter, _closing())


def _closing() -> Overloaded:
    return Overloaded("the embedding model is shutting down", retry_after=1.0)


def _settle(waiter: asyncio.Future[Vectors], outcome: Vectors | Exception) -> None:
    """Hand an outcome to a waiting coroutine, on its own event loop. A loop that has ended has nobody waiting."""
    with contextlib.suppress(RuntimeError):
        waiter.get_loop().call_soon_threadsafe(_resolve, waiter, outcome)


def _resolve(waiter: asyncio.Future[Vectors], outcome: Vectors | Exception) -> None:
    if waiter.done():
        return
    if isinstance(outcome, Exception):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
