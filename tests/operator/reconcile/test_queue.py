"""The work queue: at most once each, nothing missed, later when told, ever later on failure."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_operator.reconcile.queue import Backoff, QueueClosed, WorkQueue
from tests.fakes.virtual_time import run_virtually

STEADY = Backoff(random=lambda: 0.5)


def queue() -> WorkQueue[str]:
    return WorkQueue(backoff=STEADY)


def now() -> float:
    return asyncio.get_running_loop().time()


def check(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtually(scenario)


def test_a_key_that_waits_is_not_added_again() -> None:
    async def scenario() -> None:
        work = queue()
        for key in ("a", "b", "a", "a"):
            work.add(key)
        assert [await work.get(), await work.get()] == ["a", "b"]
        assert len(work) == 0

    check(scenario())


def test_a_key_under_work_comes_back_when_it_is_done_and_once_only() -> None:
    async def scenario() -> None:
        work = queue()
        work.add("a")
        key = await work.get()
        work.add(key)
        work.add(key)
        assert len(work) == 0
        work.done(key)
        assert await work.get() == "a"
        work.done("a")
        assert work.idle

    check(scenario())


def test_of_several_delays_the_earliest_wins() -> None:
    async def scenario() -> None:
        work = queue()
        work.add_after("a", 30)
        work.add_after("a", 10)
        work.add_after("a", 20)
        assert (await work.get(), now()) == ("a", 10)
        work.done("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work.get(), 100)

    check(scenario())


def test_a_pass_that_starts_earlier_supersedes_the_delay() -> None:
    async def scenario() -> None:
        work = queue()
        work.add_after("a", 10)
        work.add("a")
        assert (await work.get(), now()) == ("a", 0)
        work.add_after("a", 15)
        work.done("a")
        assert (await work.get(), now()) == ("a", 15)

    check(scenario())


def test_a_delay_that_ends_during_work_is_not_lost() -> None:
    async def scenario() -> None:
        work = queue()
        work.add("a")
        await work.get()
        work.add_after("a", 1)
        await asyncio.sleep(2)
        assert len(work) == 0
        work.done("a")
        assert await work.get() == "a"

    check(scenario())


def test_failures_back_off_to_five_minutes_and_success_starts_over() -> None:
    async def scenario() -> None:
        work = queue()
        assert [work.retry("a") for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
        assert work.retry("b") == 1
        work.forget("a")
        assert work.retry("a") == 1

    check(scenario())


def test_the_server_s_own_pause_is_kept() -> None:
    async def scenario() -> None:
        work = queue()
        assert work.retry("a", at_least=7.5) == 7.5
        assert (await work.get(), now()) == ("a", 7.5)

    check(scenario())


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_jitter_never_leaves_its_bounds(failures: int, luck: float) -> None:
    delay = Backoff(jitter=0.2, random=lambda: luck).delay(failures)
    assert 0.8 <= delay <= 300
    assert delay <= 1.2 * 2.0 ** min(failures - 1, 20)


def test_the_wait_and_the_retries_are_reported() -> None:
    async def scenario() -> None:
        waits: list[float] = []
        retries: list[int] = []
        work: WorkQueue[str] = WorkQueue(backoff=STEADY, on_wait=waits.append, on_retry=lambda: retries.append(1))
        work.add("a")
        await asyncio.sleep(3)
        await work.get()
        work.retry("a")
        assert (waits, retries) == ([3.0], [1])

    check(scenario())


def test_closing_releases_the_workers_and_drops_what_waits() -> None:
    async def scenario() -> None:
        work = queue()
        worker = asyncio.create_task(work.get())
        await asyncio.sleep(0)
        work.add_after("late", 5)
        work.close()
        with pytest.raises(QueueClosed):
            await worker
        work.add("a")
        work.add_after("b", 1)
        await asyncio.sleep(10)
        assert len(work) == 0

    check(scenario())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc"), st.integers(0, 30)), min_size=1, max_size=25),
    st.integers(1, 3),
)
def test_every_request_is_followed_by_a_pass_and_no_key_has_two_at_once(
    requests: list[tuple[int, str, int]], workers: int
) -> None:
    async def scenario() -> None:
        work = queue()
        begun: dict[str, list[float]] = {key: [] for key in "abc"}
        busy: set[str] = set()

        async def worker() -> None:
            while True:
                key = await work.get()
                assert key not in busy
                busy.add(key)
                begun[key].append(now())
                await asyncio.sleep(1.7)
                busy.discard(key)
                work.done(key)

        async def ask(at: int, key: str, delay: int) -> None:
            await asyncio.sleep(at)
            if delay > 5:
                work.add_after(key, delay)
            else:
                work.add(key)

        crew = [asyncio.create_task(worker()) for _ in range(workers)]
        await asyncio.gather(*(ask(*request) for request in requests))
        await asyncio.sleep(1000)
        for at, key, delay in requests:
            if delay <= 5:
                assert any(time >= at for time in begun[key]), "an event was missed"
        assert work.idle
        for task in crew:
            task.cancel()

    check(scenario())
