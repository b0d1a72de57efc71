"""MCP over stdin and stdout, a message to a line. What is no message is answered in the words that HTTP has for it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio

from sibyl_runtime.server.jsonrpc import line_fault

if TYPE_CHECKING:
    from mcp.server import Server


async def serve_stdio(server: Server[Any]) -> None:
    """Serve until stdin ends. Nothing else may use stdin and stdout meanwhile: the library diverts the latter, and this
    the former."""
    from mcp.server.stdio import stdio_server

    with os.fdopen(os.dup(sys.stdin.fileno()), "r", encoding="utf-8", errors="replace") as file:
        _divert_stdin()
        lines = _Lines(anyio.wrap_file(file))
        stdin: Any = lines
        async with stdio_server(stdin=stdin) as (incoming, outgoing):
            lines.replies.set_result(outgoing)
            await server.run(incoming, outgoing, server.create_initialization_options())


class _Lines:
    """The lines that hold messages; all others are answered on `replies`."""

    def __init__(self, file: anyio.AsyncFile[str]) -> None:
        self._file = file
        self.replies: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._file:
            if not line.strip():
                continue
            fault = line_fault(line.encode())
            if fault is None:
                yield line
            else:
                await (await self.replies).send(_error(*fault))


def _error(identity: str | int | None, code: int, message: str) -> Any:
    from mcp.shared.message import SessionMessage
    from mcp_types import ErrorData, JSONRPCError

    error = ErrorData(code=code, message=message)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=identity, error=error))


def _divert_stdin() -> None:
    """What else reads stdin finds its end."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
