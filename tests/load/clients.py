"""The clients of a load, all in one process: some ask, some leave in the middle, some hardly read, some do not wait.

Each is closed-loop: it asks again when it has its answer. What is no answer of a well-behaved server under overload
(200, or 429 and 503 with Retry-After) is noted as a fault.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from tests.load.record import Record

TOOL = "search_documents"
PLAIN, STREAM, CHAT, MCP = f"/mcp/tools/{TOOL}", f"/mcp/tools/{TOOL}/stream", "/v1/chat/completions", "/mcp"
TELL = "/mcp/tools/tell/stream"
REFUSED = (429, 503)
ERA, ERROR = "2025-11-25", "sibyl.dev/error"
OVERLOADED, CUT = "overloaded", "deadline_exceeded"
PATIENCE = 20.0
"""Longer than any request may take; who waits longer has met a server that hangs."""
HASTE = 0.05
LONGEST_STAY = 0.15
SLOW_READ, SLOW_PAUSE, SLOW_SECONDS = 2048, 0.05, 8.0


@dataclass(frozen=True)
class Population:
    """How many clients of each kind ask at once."""

    plain: int = 80
    impatient: int = 20
    streaming: int = 20
    chatting: int = 20
    protocol: int = 20
    limited: int = 10
    leaving: int = 14
    leaving_streams: int = 10
    slow: int = 6

    @property
    def total(self) -> int:
        """All of them."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Keys:
    """API keys: one without a limit, one with a rate that is soon exceeded."""

    free: str
    limited: str


class Clients:
    """Clients of one server, over one pool of connections that is as large as they are many."""

    def __init__(self, url: str, keys: Keys, questions: Sequence[str], record: Record) -> None:
        self._url = url
        self._keys = keys
        self._questions = questions
        self._record = record
        self._random = random.Random(0)
        self._session: aiohttp.ClientSession

    async def run(self, population: Population, seconds: float) -> None:
        """Ask for `seconds`. Every connection is closed at the end."""
        until = time.monotonic() + seconds
        acts: dict[str, Callable[[], Awaitable[float]]] = {
            "plain": lambda: self._ask(PLAIN, self._question()),
            "impatient": self._impatient,
            "streaming": lambda: self._ask(STREAM, self._question(), ending=b"event: end"),
            "chatting": self._chat,
            "protocol": self._call,
            "limited": lambda: self._ask(PLAIN, self._question(), key=self._keys.limited),
            "leaving": self._leave,
            "leaving_streams": self._leave_stream,
            "slow": self._read_slowly,
        }
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(self._url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as group,
        ):
            self._session = session
            for kind, act in acts.items():
                for _ in range(getattr(population, kind)):
                    group.create_task(self._repeat(kind, act, until))

    async def _repeat(self, kind: str, act: Callable[[], Awaitable[float]], until: float) -> None:
        while time.monotonic() < until:
            try:
                wait = await act()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self._record.faults[f"{kind}: {type(error).__name__}: {error}"] += 1
                wait = HASTE
            # Not all at once again: the server says when at the earliest.
            await asyncio.sleep(min(wait * self._random.uniform(1, 1.5), max(0.0, until - time.monotonic())))

    async def _ask(
        self, path: str, body: Mapping[str, object], *, key: str | None = None, ending: bytes | None = None
    ) -> float:
        """One answer, read whole; seconds to wait until the next question. `ending` is how a whole stream ends."""
        started = time.monotonic()
        async with self._session.post(path, json=body, headers=self._headers(key)) as response:
            text = await response.read()
            if (wait := self._judged(response.status, response.headers, path)) is not None:
                return wait
        if ending is not None and ending not in text[-200:]:
            self._unfinished(path, text)
            return HASTE
        self._record.answered[path] += 1
        self._record.seconds.append(time.monotonic() - started)
        return 0.0

    async def _impatient(self) -> float:
        """Asks again at once, whatever Retry-After says."""
        return min(HASTE, await self._ask(PLAIN, self._question()))

    async def _chat(self) -> float:
        body = {"model": TOOL, "messages": [{"role": "user", "content": self._question()["query"]}]}
        if self._random.random() < 0.5:
            return await self._ask(CHAT, body)
        return await self._ask(CHAT, {**body, "stream": True}, ending=b"data: [DONE]")

    async def _call(self) -> float:
        """The tool over MCP, where a refusal is a result of its own with status 200."""
        started = time.monotonic()
        headers = {**self._headers(), "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": ERA}
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": TOOL, "arguments": self._question()},
        }
        async with self._session.post(MCP, json=body, headers=headers) as response:
            text = await response.read()
            if (wait := self._judged(response.status, response.headers, MCP)) is not None:
                return wait
        result = json.loads(text).get("result", {})
        if result.get("isError") is False:
            self._record.answered[MCP] += 1
            self._record.seconds.append(time.monotonic() - started)
            return 0.0
        error = result.get("_meta", {}).get(ERROR, {})
        if error.get("code") == OVERLOADED and error.get("retry_after"):
            self._record.refused[MCP] += 1
            return float(error["retry_after"])
        self._record.faults[f"{MCP}: {text[-200:].decode(errors='replace')}"] += 1
        return HASTE

    async def _leave(self) -> float:
        """Closes its connection somewhere on the way, or has its answer before."""
        calls = self._random.random() < 0.5
        try:
            async with asyncio.timeout(self._random.uniform(0, LONGEST_STAY)):
                return await (self._call() if calls else self._ask(PLAIN, self._question()))
        except TimeoutError:
            self._record.left["MCP calls" if calls else "calls"] += 1
            return HASTE

    async def _leave_stream(self) -> float:
        """Closes its connection when the answer has begun."""
        async with self._session.post(TELL, json=self._question(), headers=self._headers()) as response:
            if (wait := self._judged(response.status, response.headers, TELL)) is not None:
                await response.read()
                return wait
            async for line in response.content:
                if line.startswith(b"event: chunk"):
                    self._record.left["streams"] += 1
                    response.close()
                    return 0.0
                if line.startswith(b"event: error"):
                    self._unfinished(TELL, await response.read())
                    return HASTE
        self._record.faults[f"{TELL}: ended without an answer"] += 1
        return HASTE

    async def _read_slowly(self) -> float:
        """Takes a little at a time of an answer without an end, until the server ends it."""
        address = urlsplit(self._url)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_READ)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=SLOW_READ)
        patient_until = time.monotonic() + SLOW_SECONDS
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(self._raw_request(address.netloc))
                status, headers = await _head(reader)
                if (wait := self._judged(status, headers, TELL)) is not None:
                    return wait
                last = b""
                while part := await reader.read(SLOW_READ):
                    last = (last + part)[-1000:]
                    if last.endswith(b"0\r\n\r\n"):
                        break
                    # What is still in the buffers of both kernels when the deadline has passed is of no interest.
                    await asyncio.sleep(SLOW_PAUSE if time.monotonic() < patient_until else 0)
            self._ended_slowly(last)
        except ConnectionResetError:
            self._record.cut += 1  # it had read nothing for too long to be told
        finally:
            writer.close()
        return 0.0

    def _ended_slowly(self, last: bytes) -> None:
        if _code(CUT) in last or not last.endswith(b"0\r\n\r\n"):
            self._record.cut += 1
        else:
            self._unfinished(TELL, last)

    def _judged(self, status: int, headers: Mapping[str, str], path: str) -> float | None:
        """Counts a status. None for an answer; else seconds to wait."""
        self._record.statuses[status] += 1
        if status == 200:
            return None
        if status not in REFUSED:
            self._record.faults[f"{path}: status {status}"] += 1
            return HASTE
        if "Retry-After" not in headers:
            self._record.faults[f"{path}: status {status} without Retry-After"] += 1
        return float(headers.get("Retry-After", HASTE))

    def _unfinished(self, path: str, text: bytes) -> None:
        """A stream that has begun can still be refused, when all database connections are in use: by its last event."""
        if _code(OVERLOADED) in text[-1000:]:
            self._record.refused[path] += 1
        else:
            self._record.faults[f"{path}: ended by {text[-200:].decode(errors='replace')}"] += 1

    def _headers(self, key: str | None = None) -> dict[str, str]:
        return {"X-API-Key": key or self._keys.free}

    def _question(self) -> dict[str, str]:
        return {"query": self._random.choice(self._questions)}

    def _raw_request(self, host: str) -> bytes:
        body = json.dumps(self._question()).encode()
        lines = [
            f"POST {TELL} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(body)}",
            f"X-API-Key: {self._keys.free}", "", "",
        ]  # fmt: skip
        return "\r\n".join(lines).encode() + body


def _code(code: str) -> bytes:
    """As it stands in the JSON of an error."""
    return b'"code":"%s"' % code.encode()


async def _head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    """Status and headers of an answer."""
    status = int((await reader.readline()).split()[1])
    headers = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.title()] = value.strip()
    return status, headers
