"""The two lanes, over an encoder that the test holds and releases; its vectors tell which text they are of."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from sibyl_runtime.errors import IngestError, Overloaded
from sibyl_runtime.providers.embedding.encoder import TokenIds
from sibyl_runtime.providers.embedding.worker import EmbeddingWorker
from sibyl_runtime.providers.protocols import Vectors
from tests.support.conditions import until

PATIENCE = 5.0


class HeldEncoder:
    """Encodes a text of token ids [n, ...] as the vector (n,). While held, it waits inside `encode`."""

    dimension = 1
    batch_tokens = 64

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.fault: Exception | None = None
        self.entered = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self.entered.clear()
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def wait_until_busy(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE)

    def encode(self, batch: Sequence[TokenIds]) -> Vectors:
        self.entered.set()
        assert self._open.wait(PATIENCE)
        self.batches.append([ids[0] for ids in batch])
        if self.fault is not None:
            raise self.fault
        return np.array([[ids[0]] for ids in batch], dtype=np.float32)


@asynccontextmanager
async def running(
    encoder: HeldEncoder, *, max_queued_queries: int = 128, max_batch_texts: int = 64
) -> AsyncIterator[EmbeddingWorker]:
    worker = EmbeddingWorker(encoder, max_queued_queries=max_queued_queries, max_batch_texts=max_batch_texts)
    try:
        yield worker
    finally:
        encoder.release()
        await worker.close()


def ask(worker: EmbeddingWorker, number: int) -> asyncio.Task[Vectors]:
    return asyncio.create_task(worker.query(f"text {number}", [number, 0]))


def ingest(worker: EmbeddingWorker, numbers: Sequence[int], length: int = 2) -> asyncio.Task[Vectors]:
    texts = [str(number) for number in numbers]
    return asyncio.create_task(worker.documents(texts, lambda text: [int(text)] * length))


async def occupy(worker: EmbeddingWorker, encoder: HeldEncoder) -> asyncio.Task[Vectors]:
    """Keep the thread busy with one query, so that what comes next has to queue."""
    encoder.hold()
    first = ask(worker, 0)
    await encoder.wait_until_busy()
    return first


async def queued(worker: EmbeddingWorker, count: int) -> None:
    """Let the tasks that were just created reach the lane."""
    await until(lambda: worker.stats()["query_queue_depth"] >= count)


async def test_everybody_gets_the_vector_of_their_own_text() -> None:
    async with running(HeldEncoder()) as worker:
        vectors = await asyncio.gather(*(ask(worker, number) for number in range(50)))
    assert [vector.tolist() for vector in vectors] == [[number] for number in range(50)]


async def test_documents_come_back_in_the_order_given() -> None:
    async with running(HeldEncoder()) as worker:
        texts = ["9999", "1", "333333", "22", "4444"]
        vectors = await worker.documents(texts, lambda text: [int(text)] * len(text))
    assert vectors[:, 0].tolist() == [9999, 1, 333333, 22, 4444]


async def test_queries_that_wait_together_run_together() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker:
        first = await occupy(worker, encoder)
        waiting = [ask(worker, number) for number in range(1, 6)]
        await queued(worker, 5)
        encoder.release()
        await asyncio.gather(first, *waiting)
    assert encoder.batches == [[0], [1, 2, 3, 4, 5]]


async def test_no_batch_holds_more_texts_or_tokens_than_allowed() -> None:
    encoder = HeldEncoder()
    async with running(encoder, max_batch_texts=4) as worker:
        await ingest(worker, range(6))
        await ingest(worker, range(6, 9), length=30)
    assert [len(batch) for batch in encoder.batches] == [4, 2, 2, 1]


async def test_queries_overtake_documents_at_the_next_batch() -> None:
    encoder = HeldEncoder()
    async with running(encoder, max_batch_texts=1) as worker:
        encoder.hold()
        documents = ingest(worker, [100, 101, 102])
        await encoder.wait_until_busy()
        query = ask(worker, 1)
        await queued(worker, 1)
        encoder.release()
        await asyncio.gather(documents, query)
    assert encoder.batches == [[100], [1], [101], [102]]


async def test_document_calls_are_served_in_turn() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker:
        first = await occupy(worker, encoder)
        calls = [ingest(worker, [1, 2]), ingest(worker, [3, 4])]
        encoder.release()
        await asyncio.gather(first, *calls)
    assert encoder.batches == [[0], [1, 2], [3, 4]]


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    encoder = HeldEncoder()
    async with running(encoder, max_queued_queries=2) as worker:
        first = await occupy(worker, encoder)
        waiting = [ask(worker, 1), ask(worker, 2)]
        await queued(worker, 2)
        with pytest.raises(Overloaded, match="the embedding queue is full: 2 queries wait") as caught:
            await worker.query("one too many", [3])
        encoder.release()
        await asyncio.gather(first, *waiting)
        assert caught.value.retry_after == 1.0
        assert worker.stats()["queries_refused"] == 1
        assert (await worker.query("room again", [4])).tolist() == [4]


async def test_the_same_text_in_flight_is_computed_once() -> None:
    encoder = HeldEncoder()
    async with running(encoder, max_queued_queries=2) as worker:
        first = await occupy(worker, encoder)
        same = [ask(worker, 7) for _ in range(20)]
        joined_while_running = ask(worker, 0)
        await queued(worker, 1)
        encoder.release()
        vectors = await asyncio.gather(first, joined_while_running, *same)
        assert encoder.batches == [[0], [7]]
        assert [vector.tolist() for vector in vectors] == [[0], [0]] + [[7]] * 20
        assert worker.stats()["queries_shared"] == 20
        await ask(worker, 7)
    assert encoder.batches == [[0], [7], [7]]


async def test_callers_who_share_a_text_do_not_share_memory() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker:
        first = await occupy(worker, encoder)
        same = [ask(worker, 7), ask(worker, 7)]
        await queued(worker, 1)
        encoder.release()
        one, other = await asyncio.gather(*same)
        one[0] = -1
        assert other.tolist() == [7]
        await first


async def test_a_hundred_cancelled_requests_leave_nothing_behind() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker:
        first = await occupy(worker, encoder)
        waiting = [ask(worker, number) for number in range(1, 101)]
        documents = ingest(worker, range(200, 260))
        await queued(worker, 100)
        for task in [*waiting, documents]:
            task.cancel()
        outcomes = await asyncio.gather(*waiting, documents, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert worker.stats()["query_queue_depth"] == 0
        encoder.release()
        await first
        assert (await ask(worker, 1)).tolist() == [1]
        assert (await ingest(worker, [300])).tolist() == [[300]]
        assert worker.stats()["document_queue_depth"] == 0
        assert worker._in_flight == {}
    assert encoder.batches == [[0], [1], [300]]


async def test_one_caller_who_gives_up_does_not_take_the_text_from_the_others() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker:
        first = await occupy(worker, encoder)
        leaving, staying = ask(worker, 7), ask(worker, 7)
        await queued(worker, 1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        encoder.release()
        assert (await staying).tolist() == [7]
        await first


async def test_a_caller_who_gives_up_while_the_batch_runs_harms_nobody() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker:
        first = await occupy(worker, encoder)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        encoder.release()
        assert (await ask(worker, 1)).tolist() == [1]


async def test_cancelled_documents_stop_at_the_next_batch() -> None:
    encoder = HeldEncoder()
    async with running(encoder, max_batch_texts=1) as worker:
        encoder.hold()
        documents = ingest(worker, range(50))
        await encoder.wait_until_busy()
        documents.cancel()
        await asyncio.gather(documents, return_exceptions=True)
        encoder.release()
        await ask(worker, 99)
        await ingest(worker, [100])
    assert encoder.batches == [[0], [99], [100]]


async def test_a_failing_model_fails_its_batch_and_the_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    encoder = HeldEncoder()
    encoder.fault = RuntimeError("out of memory")
    async with running(encoder) as worker:
        outcomes = await asyncio.gather(ask(worker, 1), ask(worker, 1), ingest(worker, [2]), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["out of memory"] * 3
        encoder.fault = None
        assert (await ask(worker, 1)).tolist() == [1]
        assert (await ingest(worker, [2])).tolist() == [[2]]
    assert "out of memory" in caplog.text


async def test_a_text_that_cannot_be_tokenised_fails_its_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(text: str) -> TokenIds:
        raise IngestError("too long")

    async with running(HeldEncoder()) as worker:
        with pytest.raises(IngestError, match="too long"):
            await worker.documents(["a"], refuse)
        assert (await ingest(worker, [2])).tolist() == [[2]]
    assert caplog.text == ""


async def test_closing_refuses_who_still_waits_and_ends_the_thread() -> None:
    encoder = HeldEncoder()
    async with running(encoder) as worker:
        first = await occupy(worker, encoder)
        waiting = [ask(worker, 1), ingest(worker, [2])]
        await queued(worker, 1)
        closing = asyncio.create_task(worker.close())
        await asyncio.sleep(0)
        encoder.release()
        await closing
        assert (await first).tolist() == [0]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, Overloaded) for outcome in outcomes)
        for call in (ask(worker, 3), ingest(worker, [4])):
            with pytest.raises(Overloaded, match="shutting down"):
                await call
        await worker.close()
        assert not worker._thread.is_alive()


def test_an_event_loop_that_has_ended_does_not_stop_the_worker() -> None:
    encoder = HeldEncoder()
    worker = EmbeddingWorker(encoder, max_queued_queries=4, max_batch_texts=4)

    async def leave_early() -> None:
        await occupy(worker, encoder)

    asyncio.run(leave_early())
    encoder.release()

    async def come_later() -> list[float]:
        try:
            values: list[float] = (await ask(worker, 5)).tolist()
            return values
        finally:
            await worker.close()

    assert asyncio.run(come_later()) == [5]


async def test_waiting_time_is_counted_with_the_given_clock() -> None:
    encoder, now = HeldEncoder(), [100.0]
    worker = EmbeddingWorker(encoder, max_queued_queries=4, max_batch_texts=4, clock=lambda: now[0])
    first = await occupy(worker, encoder)
    second = ask(worker, 1)
    await queued(worker, 1)
    now[0] = 103.0
    encoder.release()
    await asyncio.gather(first, second)
    stats = worker.stats()
    await worker.close()
    assert stats["query_wait_seconds"] == 3.0
    assert stats["query_seconds"] == 3.0
    assert (stats["queries"], stats["query_batches"]) == (2, 2)
