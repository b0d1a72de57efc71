"""Bodies: bounded whether their length is declared or not, and refused before they are read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from tests.server.served import Served, document, scripted, served

LIMIT = 64 * 1024
MEGABYTE = 1024 * 1024
TOO_LARGE = {
    "code": "request_too_large",
    "message": "The body is larger than 65,536 bytes, which is mcp.max_request_size.",
    "details": {"max_bytes": LIMIT},
}


def question(size: int) -> bytes:
    frame = len(json.dumps({"query": ""}))
    return json.dumps({"query": "x" * (size - frame)}).encode()


async def test_a_megabyte_over_a_small_limit_is_refused() -> None:
    async with served(scripted(document(max_request_size=LIMIT))) as server:
        response = await server.call({"query": "x" * MEGABYTE})
        assert server.runtime.calls == []
    assert (response.status_code, response.json()["error"]) == (413, TOO_LARGE)
    assert response.headers["Connection"] == "close"


async def test_a_chunked_megabyte_is_refused_where_it_passes_the_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(16):
            yield b"x" * LIMIT

    async with served(scripted(document(max_request_size=LIMIT))) as server:
        response = await server.api.post(
            "/mcp/tools/search_documents", content=chunks(), headers={"Content-Type": "application/json"}
        )
    assert (response.status_code, response.json()["error"]) == (413, TOO_LARGE)


async def test_a_declared_length_is_refused_before_a_byte_of_the_body() -> None:
    async with served(scripted(document(max_request_size=LIMIT))) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(_head(10 * MEGABYTE))
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_waits_for_100_continue_sends_nothing_in_vain() -> None:
    async with served(scripted(document(max_request_size=LIMIT))) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(_head(10 * MEGABYTE, "Expect: 100-continue\r\n"))
        answer = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with served(scripted(document(max_request_size=LIMIT))) as server:
        assert (await _post(server, question(LIMIT))) == 200
        assert (await _post(server, question(LIMIT + 1))) == 413


async def test_a_client_that_stops_in_the_middle_of_its_body_meets_the_deadline() -> None:
    async with served(scripted(document(timeout=0.05))) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(_head(100) + b'{"query": ')
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        writer.close()
    assert head.startswith(b"HTTP/1.1 504 ")
    assert body["error"]["details"]["stage"] == "receive"


async def _post(server: Served, body: bytes) -> int:
    response = await server.api.post(
        "/mcp/tools/search_documents", content=body, headers={"Content-Type": "application/json"}
    )
    return response.status_code


def _head(length: int, extra: str = "") -> bytes:
    return (
        "POST /mcp/tools/search_documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"{extra}Content-Length: {length}\r\n\r\n"
    ).encode()
