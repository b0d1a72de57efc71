"""A small HTTP server that answers every request alike, and counts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Static:
    """What is answered; may be changed while it runs."""

    url: str
    body: bytes
    status: int = 200
    asked: int = 0
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, it takes requests and does not answer them."""


@asynccontextmanager
async def static_server(body: bytes) -> AsyncIterator[Static]:
    """A server on a free port of 127.0.0.1."""
    static = Static("", body)
    static.answering.set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        static.asked += 1
        await static.answering.wait()
        head = f"HTTP/1.1 {static.status} X\r\nContent-Length: {len(static.body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + static.body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    static.url = f"http://127.0.0.1:{port}/keys"
    async with server:
        yield static
