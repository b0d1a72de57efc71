"""Workers: bounded, unimpressed by failures, and finishing what they began."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from sibyl_operator.kube import TooManyRequests
from sibyl_operator.process.metrics import OperatorMetrics
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.outcome import Outcome
from sibyl_operator.reconcile.queue import Backoff, WorkQueue
from sibyl_operator.reconcile.workers import Workers
from tests.fakes.virtual_time import run_virtually

A, B = Key("team", "a"), Key("team", "b")


@dataclass
class ScriptedEngine:
    """Does what the script says for each pass, and notes when it began."""

    script: Callable[[Key, int], Awaitable[Outcome]]
    begun: list[tuple[Key, float]] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0

    async def reconcile(self, key: Key) -> Outcome:
        self.begun.append((key, asyncio.get_running_loop().time()))
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            return await self.script(key, sum(1 for seen, _ in self.begun if seen == key))
        finally:
            self.busy -= 1


async def work(engine: ScriptedEngine, *keys: Key, seconds: float = 100, count: int = 2) -> OperatorMetrics:
    metrics = OperatorMetrics()
    queue: WorkQueue[Key] = WorkQueue(backoff=Backoff(random=lambda: 0.5))
    workers = asyncio.create_task(Workers(queue, engine, metrics, count=count, deadline=20).run())
    for key in keys:
        queue.add(key)
    await asyncio.sleep(seconds)
    queue.close()
    await workers
    return metrics


def times(engine: ScriptedEngine, key: Key) -> list[float]:
    return [at for seen, at in engine.begun if seen == key]


def test_an_outcome_says_when_to_look_again() -> None:
    async def script(key: Key, number: int) -> Outcome:
        return Outcome("ready", 15) if key == A else Outcome("stalled")

    engine = ScriptedEngine(script)
    run_virtually(work(engine, A, B, seconds=40))
    assert (times(engine, A), times(engine, B)) == ([0, 15, 30], [0])


def test_failures_back_off_and_a_success_forgets_them(caplog: pytest.LogCaptureFixture) -> None:
    async def script(key: Key, number: int) -> Outcome:
        if number in (1, 2, 5):
            raise ZeroDivisionError("a mistake of ours")
        return Outcome("error", retry=True) if number == 3 else Outcome("ready", 10)

    engine = ScriptedEngine(script)
    with caplog.at_level(logging.ERROR):
        metrics = run_virtually(work(engine, A, seconds=19))
    # 1 s, 2 s and 4 s of backoff, 10 s at rest, 1 s again.
    assert times(engine, A) == [0, 1, 3, 7, 17, 18]
    assert "a mistake of ours" in caplog.text
    shown = metrics.exposition().decode()
    assert 'sibyl_reconcile_total{result="error"} 4.0' in shown
    assert 'sibyl_reconcile_total{result="ready"} 2.0' in shown


def test_the_api_server_s_own_pause_is_respected() -> None:
    async def script(key: Key, number: int) -> Outcome:
        if number == 1:
            raise TooManyRequests(429, "slow down", retry_after=8)
        return Outcome("stalled")

    engine = ScriptedEngine(script)
    run_virtually(work(engine, A))
    assert times(engine, A) == [0, 8]


def test_a_pass_that_hangs_is_ended_and_the_others_go_on() -> None:
    async def script(key: Key, number: int) -> Outcome:
        if key == A and number == 1:
            await asyncio.Event().wait()
        return Outcome("ready", 5)

    engine = ScriptedEngine(script)
    run_virtually(work(engine, A, B, seconds=22))
    assert times(engine, A) == [0, 21]
    assert times(engine, B) == [0, 5, 10, 15, 20]


def test_no_more_passes_run_at_once_than_there_are_workers() -> None:
    async def script(key: Key, number: int) -> Outcome:
        await asyncio.sleep(1)
        return Outcome("stalled")

    engine = ScriptedEngine(script)
    run_virtually(work(engine, *(Key("team", str(number)) for number in range(20)), count=3))
    assert (len(engine.begun), engine.busiest) == (20, 3)


def test_closing_lets_passes_under_way_finish() -> None:
    finished: list[Key] = []

    async def script(key: Key, number: int) -> Outcome:
        await asyncio.sleep(10)
        finished.append(key)
        return Outcome("ready", 1)

    run_virtually(work(ScriptedEngine(script), A, seconds=5))
    assert finished == [A]


def test_cancelling_the_workers_cancels_their_passes() -> None:
    cancelled: list[Key] = []

    async def script(key: Key, number: int) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(key)
            raise
        return Outcome("gone")

    async def scenario() -> None:
        queue: WorkQueue[Key] = WorkQueue()
        workers = asyncio.create_task(
            Workers(queue, ScriptedEngine(script), OperatorMetrics(), count=2, deadline=1000).run()
        )
        queue.add(A)
        await asyncio.sleep(1)
        workers.cancel()
        await asyncio.wait([workers])

    run_virtually(scenario())
    assert cancelled == [A]
