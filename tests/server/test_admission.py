"""Which calls run: a bounded number, and none for a client that has gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import Overloaded
from sibyl_runtime.server.admission import CancelledWithClient, ClientGone, ConcurrencyGate
from tests.server.served import OUTCOME, Served, document, scripted, served


class Blocked:
    """Work that starts, waits to be let go, and remembers how it ended."""

    def __init__(self) -> None:
        self.started = 0
        self.arrived = asyncio.Condition()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, *_: Any) -> ToolOutcome:
        async with self.arrived:
            self.started += 1
            self.arrived.notify_all()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return OUTCOME

    async def until_started(self, number: int) -> None:
        async with self.arrived, asyncio.timeout(5):
            await self.arrived.wait_for(lambda: self.started >= number)


async def test_the_call_above_the_limit_is_refused_at_once_and_told_to_come_back() -> None:
    work = Blocked()
    async with served(scripted(document(max_concurrent_requests=2), work)) as server:
        running = [asyncio.create_task(server.call({"query": str(n)})) for n in range(2)]
        await work.until_started(2)
        refused = await server.call({"query": "one too many"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["error"] == {
            "code": "overloaded",
            "message": "All 2 places for requests are taken (mcp.max_concurrent_requests); try again shortly.",
            "details": {},
        }
        work.release.set()
        assert [(await task).status_code for task in running] == [200, 200]
        assert (await server.call({"query": "now there is room"})).status_code == 200


async def test_health_is_answered_while_every_place_is_taken() -> None:
    work = Blocked()
    async with served(scripted(document(max_concurrent_requests=1), work)) as server:
        running = asyncio.create_task(server.call({"query": "x"}))
        await work.until_started(1)
        assert (await server.api.get("/health/ready")).status_code == 200
        work.release.set()
        await running


async def test_work_ends_when_its_client_hangs_up() -> None:
    work = Blocked()
    async with served(scripted(document(max_concurrent_requests=1), work)) as server:
        await _ask_and_hang_up(server, work)
        await asyncio.wait_for(work.cancelled.wait(), 5)
        work.release.set()
        assert (await server.call({"query": "the place is free again"})).status_code == 200
        metrics = (await server.watch.get("/metrics")).text
    counted = 'sibyl_mcp_tool_errors_total{error_type="client_disconnected",tool="search_documents"} 1.0'
    assert counted in metrics
    assert 'sibyl_mcp_requests_total{method="POST",status="499"} 1.0' in metrics


async def test_a_client_that_hangs_up_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    work = Blocked()
    async with served(scripted(answer=work)) as server:
        await _ask_and_hang_up(server, work)
        await asyncio.wait_for(work.cancelled.wait(), 5)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_the_gate_opens_again_after_a_failure() -> None:
    gate = ConcurrencyGate(1)
    with pytest.raises(ZeroDivisionError), gate:
        raise ZeroDivisionError
    with gate, pytest.raises(Overloaded), gate:
        pass


async def test_a_cancellation_from_elsewhere_is_not_taken_for_the_client() -> None:
    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async def work() -> None:
        async with CancelledWithClient(receive):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_answer_that_races_the_hang_up_is_either_whole_or_gone() -> None:
    """The disconnect arrives in the very turn of the loop in which the work ends."""
    gone = asyncio.Event()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def work() -> str:
        async with CancelledWithClient(receive):
            await gone.wait()
            return "answer"

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.set()
    try:
        assert await task == "answer"
    except ClientGone:
        assert not task.cancelled()
    assert task.cancelling() == 0


async def _ask_and_hang_up(server: Served, work: Blocked) -> None:
    body = b'{"query": "x"}'
    _, writer = await asyncio.open_connection(*server.address)
    writer.write(
        b"POST /mcp/tools/search_documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    await work.until_started(1)
    writer.close()
    await writer.wait_closed()
