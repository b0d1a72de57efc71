from __future__ import annotations

import asyncio
import gc

import pytest

from sibyl_runtime.cache.single_flight import SingleFlight
from sibyl_runtime.errors import DeadlineExceeded, ProviderError


class _Computation:
    """Counts its calls and ends when told."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.release = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        call = self.calls
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return call


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _ask(flight: SingleFlight[int], compute: _Computation, count: int, key: str = "k") -> list[asyncio.Task[int]]:
    return [asyncio.create_task(flight.run(key, compute)) for _ in range(count)]


async def test_the_same_question_at_once_is_computed_once() -> None:
    flight, compute = SingleFlight[int](), _Computation()
    asked = _ask(flight, compute, 5)
    await _turns()
    compute.release.set()
    assert await asyncio.gather(*asked) == [1] * 5
    assert (compute.calls, flight.joined) == (1, 4)


async def test_the_same_question_later_is_computed_again() -> None:
    flight, compute = SingleFlight[int](), _Computation()
    compute.release.set()
    assert [await flight.run("k", compute), await flight.run("k", compute)] == [1, 2]


async def test_different_questions_do_not_wait_for_each_other() -> None:
    flight, slow, fast = SingleFlight[int](), _Computation(), _Computation()
    fast.release.set()
    waiting = _ask(flight, slow, 1, "slow")
    assert await flight.run("fast", fast) == 1
    slow.release.set()
    assert await waiting[0] == 1


async def test_a_leader_who_goes_away_takes_nothing_from_the_others() -> None:
    flight, compute = SingleFlight[int](), _Computation()
    leader, *followers = _ask(flight, compute, 3)
    await _turns()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    compute.release.set()
    assert await asyncio.gather(*followers) == [1, 1]
    assert compute.cancelled == 0


async def test_when_all_have_gone_the_computation_ends_and_a_newcomer_starts_anew() -> None:
    flight, compute = SingleFlight[int](), _Computation()
    asked = _ask(flight, compute, 2)
    await _turns()
    for task in asked:
        task.cancel()
    newcomer: list[asyncio.Task[int]] = []
    asked[1].add_done_callback(lambda _: newcomer.extend(_ask(flight, compute, 1)))
    await asyncio.wait(asked)
    await _turns()
    compute.release.set()
    assert await newcomer[0] == 2
    assert compute.cancelled == 1


async def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    flight, compute = SingleFlight[int](), _Computation()
    asked = _ask(flight, compute, 3)
    await _turns()
    compute.error = ProviderError("no")
    compute.release.set()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [ProviderError] * 3
    compute.error = None
    assert await flight.run("k", compute) == 2


async def test_the_leaders_deadline_is_not_the_followers() -> None:
    flight, first, second = SingleFlight[int](), _Computation(), _Computation()
    first.error = DeadlineExceeded("too late")
    leader = _ask(flight, first, 1)
    await _turns()
    followers = _ask(flight, second, 3)
    await _turns()
    first.release.set()
    with pytest.raises(DeadlineExceeded):
        await leader[0]
    second.release.set()
    assert await asyncio.gather(*followers) == [1, 1, 1]
    assert second.calls == 1


async def test_an_error_that_nobody_waits_for_is_not_reported_as_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    flight = SingleFlight[int]()
    stubborn_ended = asyncio.Event()

    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stubborn_ended.set()
            raise ProviderError("while leaving") from None
        return 0

    asked = asyncio.create_task(flight.run("k", stubborn))
    await _turns()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await stubborn_ended.wait()
    await _turns()
    gc.collect()
    assert "never retrieved" not in caplog.text
