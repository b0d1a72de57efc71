"""Alive, ready, healthy; and that no check which hangs delays an answer."""

from __future__ import annotations

import asyncio

import pytest

from sibyl_runtime.errors import DatabaseUnavailable
from sibyl_runtime.server.health import GRACE, PATIENCE, CheckPending, CoalescedCheck, Health, Lifecycle
from tests.server.served import scripted, served


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("path", "body"), [("/health/live", {"status": "alive"}), ("/health/ready", {"status": "ready"})]
)
async def test_a_server_that_can_answer_says_so_on_both_ports(path: str, body: dict[str, str]) -> None:
    async with served(scripted()) as server:
        for client in (server.api, server.watch):
            response = await client.get(path)
            assert (response.status_code, response.json()) == (200, body)


async def test_without_its_database_it_is_not_ready_but_alive() -> None:
    async with served(scripted()) as server:
        server.runtime.store.fault = DatabaseUnavailable("no connection to PostgreSQL at db:5432/rag")
        response = await server.api.get("/health/ready")
        assert (response.status_code, response.headers["Retry-After"], response.json()) == (
            503, "1", {"status": "not ready", "reason": "no connection to PostgreSQL at db:5432/rag"},
        )  # fmt: skip
        assert (await server.api.get("/health/live")).status_code == 200


async def test_a_database_that_is_late_is_forgiven_for_a_while_and_then_told() -> None:
    runtime, clock = scripted(), Clock()
    health = Health(runtime, Lifecycle(), clock=clock)
    assert await health.not_ready_because() is None
    runtime.store.hangs = True
    clock.now += 60
    assert await health.not_ready_because() is None
    clock.now += GRACE
    assert await health.not_ready_because() is None
    clock.now += 1
    assert await health.not_ready_because() == "the database has not answered for 6 s"
    await health.close()


async def test_readiness_answers_within_the_second_that_kubelet_waits() -> None:
    assert PATIENCE < 1
    async with served(scripted()) as server:
        server.runtime.store.hangs = True
        assert (await server.api.get("/health/ready")).json() == {"status": "ready"}


async def test_health_is_the_document_of_the_runtime() -> None:
    async with served(scripted()) as server:
        for client in (server.api, server.watch):
            assert (await client.get("/health")).json() == {"status": "healthy", "checks": {}}


async def test_many_who_ask_cause_one_check() -> None:
    calls = 0
    release = asyncio.Event()

    async def check() -> int:
        nonlocal calls
        calls += 1
        await release.wait()
        return calls

    coalesced = CoalescedCheck(check)
    asking = [asyncio.create_task(coalesced.result()) for _ in range(20)]
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*asking) == [1] * 20


async def test_a_result_is_kept_for_its_age_and_then_renewed() -> None:
    clock, calls = Clock(), 0

    async def check() -> int:
        nonlocal calls
        calls += 1
        return calls

    coalesced = CoalescedCheck(check, max_age=1.0, clock=clock)
    assert await coalesced.result() == 1
    clock.now += 1.0
    assert await coalesced.result() == 1
    clock.now += 0.1
    assert await coalesced.result() == 2


async def test_a_failure_is_kept_like_a_success_and_recovers() -> None:
    clock = Clock()
    fault: Exception | None = DatabaseUnavailable("down")

    async def check() -> str:
        if fault is not None:
            raise fault
        return "up"

    coalesced = CoalescedCheck(check, clock=clock)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await coalesced.result()
    fault = None
    clock.now += 2
    assert await coalesced.result() == "up"


async def test_a_check_that_is_late_goes_on_and_is_found_by_the_next_who_asks() -> None:
    release = asyncio.Event()

    async def check() -> str:
        await release.wait()
        return "late"

    coalesced = CoalescedCheck(check, patience=0.01)
    with pytest.raises(CheckPending):
        await coalesced.result()
    release.set()
    assert await coalesced.result() == "late"
    await coalesced.close()


async def test_time_in_which_nobody_asked_is_not_held_against_what_is_checked() -> None:
    clock, release = Clock(), asyncio.Event()
    release.set()

    async def check() -> None:
        await release.wait()

    coalesced = CoalescedCheck(check, patience=0.01, clock=clock)
    await coalesced.result()
    clock.now += 60
    release.clear()
    with pytest.raises(CheckPending):
        await coalesced.result()
    assert coalesced.seconds_unanswered() == 0
    clock.now += 7
    assert coalesced.seconds_unanswered() == 7
    release.set()
    await coalesced.result()
    assert coalesced.seconds_unanswered() == 0


async def test_failures_one_after_another_are_one_time_without_an_answer() -> None:
    clock = Clock()

    async def check() -> None:
        raise DatabaseUnavailable("down")

    coalesced = CoalescedCheck(check, clock=clock)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            await coalesced.result()
        clock.now += 2
    assert coalesced.seconds_unanswered() == 6


async def test_closing_breaks_off_a_check_that_hangs() -> None:
    cancelled = asyncio.Event()

    async def check() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    coalesced = CoalescedCheck(check, patience=0.01)
    with pytest.raises(CheckPending):
        await coalesced.result()
    await coalesced.close()
    assert cancelled.is_set()
