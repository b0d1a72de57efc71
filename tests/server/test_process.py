"""Stopping: what was begun is finished, within bounds, and then everything is closed."""

from __future__ import annotations

import asyncio
import signal

import httpx
import pytest

from sibyl_runtime.server.process import StopSignal
from tests.server.served import Served, scripted, served
from tests.server.test_admission import Blocked


async def test_a_request_in_flight_is_finished_before_the_runtime_is_closed() -> None:
    work = Blocked()
    async with served(scripted(answer=work)) as server:
        asking = asyncio.create_task(server.call({"query": "x"}))
        await work.until_started(1)
        server.stop(signal.SIGTERM)
        await _refused(server)
        assert not server.runtime.closed
        work.release.set()
        assert (await asking).status_code == 200
        await server.task
    assert server.runtime.closed


async def test_while_draining_it_is_not_ready_but_still_answers() -> None:
    async with served(scripted(), delay=30) as server:
        server.stop(signal.SIGTERM)
        for client in (server.api, server.watch):
            response = await _until_not_ready(client)
            assert response.json() == {"status": "not ready", "reason": "shutting down"}
        assert (await server.call({"query": "x"})).status_code == 200
        server.stop(signal.SIGTERM)
        await server.task


async def test_the_last_counts_can_be_scraped_while_requests_finish() -> None:
    work = Blocked()
    async with served(scripted(answer=work)) as server:
        asking = asyncio.create_task(server.call({"query": "x"}))
        await work.until_started(1)
        server.stop(signal.SIGTERM)
        await _refused(server)
        assert "sibyl_active_requests 1.0" in (await server.watch.get("/metrics")).text
        work.release.set()
        await asking


async def test_a_request_that_takes_too_long_is_told_to_come_again() -> None:
    work = Blocked()
    async with served(scripted(answer=work), timeout=1) as server:
        asking = asyncio.create_task(server.call({"query": "x"}))
        await work.until_started(1)
        server.stop(signal.SIGTERM)
        response = await asking
        await server.task
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json()["error"]["message"] == (
        "The server is shutting down and could not finish this request; send it again."
    )
    assert work.cancelled.is_set()


async def test_a_second_signal_ends_the_wait() -> None:
    work = Blocked()
    async with served(scripted(answer=work), timeout=60) as server:
        asking = asyncio.create_task(server.call({"query": "x"}))
        await work.until_started(1)
        server.stop(signal.SIGINT)
        await _refused(server)
        server.stop(signal.SIGINT)
        async with asyncio.timeout(10):
            await server.task
        await asyncio.gather(asking, return_exceptions=True)
    assert server.runtime.closed


async def test_the_first_signal_is_remembered() -> None:
    stop = StopSignal()
    stop(signal.SIGINT)
    assert not stop.urgent.is_set()
    stop(signal.SIGTERM)
    assert stop.urgent.is_set()
    assert stop.received is signal.SIGINT


async def _refused(server: Served) -> None:
    """Wait until the API takes no new connection."""
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(*server.address)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.01)


async def _until_not_ready(client: httpx.AsyncClient) -> httpx.Response:
    async with asyncio.timeout(5):
        while True:
            response = await client.get("/health/ready")
            if response.status_code == 503:
                return response
    pytest.fail("unreachable")
