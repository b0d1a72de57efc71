"""`rate_limit`: never more in any minute than is allowed, in order, and no waiting for what would come too late."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.errors import Overloaded, ProviderError
from sibyl_runtime.providers.llm.quota import MINUTE, Quota, QuotaWindow, estimated_tokens
from sibyl_runtime.providers.protocols import Generation, GenerationRequest
from sibyl_runtime.workspace import LlmRateLimit
from tests.support.conditions import until

ARRIVALS = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 50)), min_size=1, max_size=40)


@given(ARRIVALS, st.none() | st.integers(1, 5), st.none() | st.integers(50, 120))
def test_no_minute_holds_more_than_the_limit(
    arrivals: list[tuple[float, int]], requests: int | None, tokens: int | None
) -> None:
    window = QuotaWindow(requests, tokens)
    now, turns = 0.0, []
    for gap, size in arrivals:
        now += gap
        turn = window.take(now, size)
        assert turn.at >= now
        turns.append((turn.at, turn.tokens))
    assert turns == sorted(turns, key=lambda turn: turn[0]), "who came first is sent first"
    for end, _ in turns:
        # What is due exactly a minute after another one may be sent: the sums of floats are not that exact.
        minute = [size for at, size in turns if end - MINUTE + 1e-6 < at <= end]
        assert requests is None or len(minute) <= requests
        assert tokens is None or sum(minute) <= tokens


def test_nothing_waits_while_there_is_room() -> None:
    window = QuotaWindow(3, 100)
    assert [window.take(float(now), 30).at for now in range(3)] == [0.0, 1.0, 2.0]
    assert window.take(3.0, 10).at == 60.0


@pytest.mark.parametrize(("given_back", "at"), [(False, 60.0), (True, 1.0)])
def test_a_turn_that_is_given_back_is_free(given_back: bool, at: float) -> None:
    window = QuotaWindow(1, None)
    turn = window.take(0.0, 1)
    if given_back:
        window.give_back(turn)
    assert window.take(1.0, 1).at == at


def test_what_was_really_used_counts_in_place_of_the_estimate() -> None:
    window = QuotaWindow(None, 100)
    turn = window.take(0.0, 90)
    assert window.next(1.0, 20) == 60.0
    Quota.settle(turn, Generation("a", "m", 20, 10, "stop"))
    assert window.next(1.0, 20) == 1.0
    Quota.settle(turn, Generation("a", "m", 0, 0, "stop"))
    assert turn.tokens == 30, "a server that does not count leaves what is known"


class Sleeper:
    """A clock that a test moves: who sleeps is woken when the time has come."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeping: list[tuple[float, asyncio.Event]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.sleeping.append((self.now + seconds, woken))
        await woken.wait()

    def move_to(self, now: float) -> None:
        self.now = now
        for at, woken in self.sleeping:
            if at <= now:
                woken.set()


def quota(time: Sleeper, **limit: int) -> Quota:
    return Quota("main", LlmRateLimit(**limit), sleep=time.sleep, clock=time.clock)


async def test_what_is_above_the_limit_waits_its_turn() -> None:
    time = Sleeper()
    limited = quota(time, requests_per_minute=1)
    await limited.turn(1, within=100)
    waiting = asyncio.create_task(limited.turn(1, within=100))
    await until(lambda: time.sleeping)
    time.move_to(59.9)
    await asyncio.sleep(0)
    assert not waiting.done()
    time.move_to(60.0)
    assert (await waiting).at == 60.0


async def test_a_turn_that_would_come_too_late_is_not_waited_for_and_not_taken() -> None:
    time = Sleeper()
    limited = quota(time, requests_per_minute=1)
    await limited.turn(1, within=100)
    for _ in range(3):
        with pytest.raises(Overloaded) as caught:
            await limited.turn(1, within=30)
        assert caught.value.retry_after == 60.0
    assert caught.value.message == (
        "providers.llm.main.rate_limit is used up for the next 60.0 s, longer than this request may wait; try again "
        "then, or raise it"
    )
    assert time.sleeping == []


async def test_who_leaves_while_waiting_gives_the_turn_to_the_next() -> None:
    time = Sleeper()
    limited = quota(time, requests_per_minute=1)
    await limited.turn(1, within=100)
    waiting = asyncio.create_task(limited.turn(1, within=100))
    await until(lambda: time.sleeping)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    time.move_to(60.0)
    assert (await limited.turn(1, within=1)).at == 60.0


async def test_a_request_that_can_never_have_a_turn_is_refused() -> None:
    limited = quota(Sleeper(), tokens_per_minute=1000)
    with pytest.raises(ProviderError) as caught:
        await limited.turn(1200, within=100)
    assert caught.value.status == 500
    assert caught.value.message == (
        "the request takes about 1,200 tokens, prompt and longest answer together, and never fits "
        "providers.llm.main.rate_limit.tokens_per_minute (1,000); ask for fewer chunks, or have that limit raised or "
        "max_tokens lowered in the workspace"
    )


@pytest.mark.parametrize(("prompt", "bound", "tokens"), [("x" * 400, 50, 150), ("x" * 401, None, 101), ("", 7, 7)])
def test_what_a_request_will_take_is_estimated(prompt: str, bound: int | None, tokens: int) -> None:
    assert estimated_tokens(GenerationRequest("q", (), prompt), bound) == tokens
