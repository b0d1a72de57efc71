"""POST /mcp/tools/{name}/stream over real HTTP, with a runtime that tells what a test says."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import InvalidParameters, ProviderError, SibylError
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.listening import AnswerText, Listener, SourcesFound, StageEnded
from tests.server.served import OUTPUT, ScriptedRuntime, Served, document, scripted, served
from tests.support.conditions import until

SOURCE = {"title": "Database", "content": "...", "score": 0.71, "document": "docs/database.md"}
PATH = "/mcp/tools/search_documents/stream"


async def in_order(listener: Listener, _: Deadline) -> None:
    await listener(StageEnded("retrieval", "embed", 0.0021))
    await listener(SourcesFound([SOURCE]))
    await listener(AnswerText("In the"))
    await listener(AnswerText(" Secret."))


def telling(narrate: Any = in_order, answer: Any = None, **mcp: Any) -> ScriptedRuntime:
    runtime = scripted(document(**mcp)) if answer is None else scripted(document(**mcp), answer)
    runtime.narrate = narrate
    return runtime


def events_of(text: str) -> list[dict[str, Any]]:
    """The data of each event; the name of an event is the type in its data."""
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


class Reader:
    """A raw connection that has asked, and reads only when told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_to_the_end(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def drop(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def asking(server: Served) -> AsyncIterator[Reader]:
    body = b'{"query": "x"}'
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, server.address)
    reader, writer = await asyncio.open_connection(sock=small, limit=4096)
    writer.write(
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (PATH.encode(), len(body), body)
    )
    try:
        yield Reader(reader, writer)
    finally:
        writer.close()


async def metrics_of(server: Served) -> str:
    return (await server.watch.get("/metrics")).text


async def test_a_stream_tells_stages_sources_text_and_what_the_plain_route_answers() -> None:
    async with served(telling()) as server:
        response = await server.api.post(PATH, json={"query": "Where?"})
        plain = (await server.call({"query": "Where?"})).json()
        metrics = await metrics_of(server)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (response.headers["Cache-Control"], response.headers["X-Accel-Buffering"]) == ("no-store", "no")
    *told, result, end = events_of(response.text)
    identity = response.headers["X-Request-ID"]
    assert told == [
        {"type": "start", "tool": "search_documents", "request_id": identity},
        {"type": "stage", "step": "retrieval", "stage": "embed", "ms": 2.1, "start_ms": 0.0},
        {"type": "sources", "sources": [SOURCE]},
        {"type": "chunk", "content": "In the"},
        {"type": "chunk", "content": " Secret."},
    ]
    assert result["output"] == OUTPUT == plain["output"]
    assert result["metadata"].keys() == plain["metadata"].keys()
    assert result["metadata"]["request_id"] == identity
    assert end == {"type": "end"}
    assert 'sibyl_mcp_tool_first_token_seconds_count{tool="search_documents"} 1.0' in metrics
    assert 'sibyl_mcp_tool_calls_total{status="success",tool="search_documents"} 2.0' in metrics


async def test_events_arrive_while_the_answer_is_being_made() -> None:
    go_on = asyncio.Event()

    async def wait_in_between(listener: Listener, _: Deadline) -> None:
        await listener(AnswerText("first"))
        await go_on.wait()
        await listener(AnswerText("second"))

    async with (
        served(telling(wait_in_between)) as server,
        server.api.stream("POST", PATH, json={"query": "x"}) as response,
    ):
        lines = response.aiter_lines()
        async for line in lines:
            if line == 'data: {"type":"chunk","content":"first"}':
                break
        go_on.set()
        assert 'data: {"type":"chunk","content":"second"}' in [line async for line in lines]


FAILURES: list[tuple[SibylError, int]] = [
    (InvalidParameters("query: is required"), 400),
    (ProviderError("primary refused", details={"status": 401}), 502),
]


@pytest.mark.parametrize(("fault", "status"), FAILURES)
async def test_what_fails_before_the_first_event_is_a_plain_error(fault: SibylError, status: int) -> None:
    async def fail(*_: Any) -> None:
        raise fault

    async with served(telling(fail)) as server:
        response = await server.api.post(PATH, json={"query": "x"})
    assert response.status_code == status
    assert response.json()["error"] == {"code": fault.code, "message": fault.message, "details": fault.details}


async def test_what_fails_on_the_way_is_the_same_error_as_the_last_event() -> None:
    async def fail(*_: Any) -> ToolOutcome:
        raise ProviderError("primary broke off", details={"model": "gpt-4"})

    async with served(telling(answer=fail)) as server:
        response = await server.api.post(PATH, json={"query": "x"})
        plain = (await server.call({"query": "x"})).json()
        metrics = await metrics_of(server)
    last = events_of(response.text)[-1]
    assert (last.pop("type"), last.pop("request_id")) == ("error", response.headers["X-Request-ID"])
    assert last == {"error": plain["error"]}
    assert 'sibyl_mcp_tool_errors_total{error_type="provider_error",tool="search_documents"} 2.0' in metrics


async def test_a_fault_of_ours_on_the_way_tells_the_id_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(*_: Any) -> ToolOutcome:
        raise ZeroDivisionError("s3cret")

    async with served(telling(answer=crash)) as server:
        response = await server.api.post(PATH, json={"query": "x"}, headers={"X-Request-ID": "find-me"})
    assert events_of(response.text)[-1]["error"] == {
        "code": "internal_error",
        "message": "The server failed; its log names the cause under request id find-me.",
        "details": {},
    }
    assert "s3cret" not in response.text
    assert "ZeroDivisionError" in caplog.text


async def test_streams_and_calls_share_places_keys_and_limits() -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def hold(listener: Listener, _: Deadline) -> None:
        await listener(AnswerText("one"))
        started.set()
        await release.wait()

    settings = {"max_concurrent_requests": 1, "max_request_size": 1024}
    keys = {"type": "api_key", "keys": ["right"]}
    async with served(telling(hold, authentication=keys, **settings)) as server:
        headers = {"X-API-Key": "right"}
        assert (await server.api.post(PATH, json={"query": "x"})).status_code == 401
        running = asyncio.create_task(server.api.post(PATH, json={"query": "x"}, headers=headers))
        await started.wait()
        for path in (PATH, PATH.removesuffix("/stream")):
            refused = await server.api.post(path, json={"query": "x"}, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        release.set()
        assert events_of((await running).text)[-1] == {"type": "end"}
        large = await server.api.post(PATH, json={"query": "x" * 2000}, headers=headers)
        assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
        unknown = await server.api.post(PATH.replace("search", "serch"), json={}, headers=headers)
        assert unknown.status_code == 404


async def test_a_client_that_hangs_up_ends_the_work_and_frees_its_place(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def endless(listener: Listener, _: Deadline) -> None:
        try:
            await listener(AnswerText("first"))
            await asyncio.Event().wait()
        finally:
            ended.set()

    runtime = telling(endless, max_concurrent_requests=1)
    async with served(runtime) as server:
        async with asking(server) as client:
            while b"first" not in await client.reader.readline():
                pass
            await client.drop()
        async with asyncio.timeout(5):
            await ended.wait()
        runtime.narrate = in_order
        assert (await server.api.post(PATH, json={"query": "x"})).status_code == 200
        metrics = await metrics_of(server)
    assert 'sibyl_mcp_tool_errors_total{error_type="client_disconnected",tool="search_documents"} 1.0' in metrics
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_client_that_does_not_read_stops_the_work_holds_little_and_is_cut_by_the_deadline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    written, ended = 0, asyncio.Event()

    async def flood(listener: Listener, _: Deadline) -> None:
        nonlocal written
        try:
            while True:
                await listener(AnswerText("x" * 10_000))
                written += 1
                await asyncio.sleep(0)
        finally:
            ended.set()

    runtime = telling(flood, timeout=1, max_concurrent_requests=1)
    async with served(runtime) as server, asking(server) as client:
        async with asyncio.timeout(5):
            await ended.wait()
        # What the kernel takes for both ends, and 64 kB of ours. Without a brake it would be gigabytes in a second.
        assert 0 < written * 10_000 < 16_000_000
        runtime.narrate = in_order
        assert (await server.api.post(PATH, json={"query": "the place is free"})).status_code == 200
        await until(lambda: server.metrics.registry.get_sample_value("sibyl_active_requests") == 0)
        assert not (await client.read_to_the_end()).endswith(b"0\r\n\r\n")  # as a complete answer would
        metrics = await metrics_of(server)
    assert 'sibyl_mcp_tool_errors_total{error_type="deadline_exceeded",tool="search_documents"} 1.0' in metrics
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_client_that_reads_slowly_gets_the_error_of_the_deadline() -> None:
    async def hang(listener: Listener, _: Deadline) -> None:
        await listener(AnswerText("first"))
        await asyncio.Event().wait()

    async with served(telling(hang, timeout=0.2)) as server:
        response = await server.api.post(PATH, json={"query": "x"})
    assert events_of(response.text)[-1]["error"]["code"] == "deadline_exceeded"


async def test_a_stream_that_the_server_cannot_finish_before_it_stops_ends_with_an_error() -> None:
    begun = asyncio.Event()

    async def hang(listener: Listener, _: Deadline) -> None:
        await listener(AnswerText("first"))
        begun.set()
        await asyncio.Event().wait()

    async with served(telling(hang), timeout=1) as server:
        asking_for = asyncio.create_task(server.api.post(PATH, json={"query": "x"}))
        await begun.wait()
        server.stop.asked.set()
        last = events_of((await asking_for).text)[-1]
    assert (last["type"], last["error"]["code"]) == ("error", "overloaded")
    assert last["error"]["message"].startswith("The server is shutting down")


async def test_the_description_of_the_api_has_the_stream_of_each_tool() -> None:
    async with served(telling()) as server:
        described = (await server.api.get("/openapi.json")).json()["paths"]
        wrong = await server.api.get(PATH)
    assert described[PATH]["post"]["operationId"] == "stream_search_documents"
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")
