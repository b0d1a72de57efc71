"""A closed-loop load generator in a process of its own, on bare sockets: what it costs must not count as the server's.

Usage: python -m bench.load HOST PORT CLIENTS SECONDS [PATH [KEY]] < questions (one a line); prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any

import uvloop


@dataclass(frozen=True)
class Load:
    """What one run measured. Latencies in milliseconds."""

    clients: int
    requests: int
    errors: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Answers a second, all clients together."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Address:
    """Where questions are posted to; `key` goes into X-API-Key."""

    host: str
    port: int
    path: str = "/mcp/tools/search_documents"
    key: str | None = None

    def request(self, question: str) -> bytes:
        """The whole of it, head and body."""
        body = json.dumps({"query": question}).encode()
        key = f"X-API-Key: {self.key}\r\n" if self.key else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}\r\n{key}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def run(address: Address, clients: int, seconds: float, questions: list[str]) -> Load:
    """Keep `clients` connections busy for `seconds`, each waiting for its answer before it asks again."""
    latencies: list[float] = []
    failures: list[int] = []
    started = time.perf_counter()
    until = started + seconds
    await asyncio.gather(
        *(
            _client(address, until, questions[index::clients] or questions, latencies, failures)
            for index in range(clients)
        )
    )
    spent = time.perf_counter() - started
    ordered = sorted(latencies)
    return Load(
        clients, len(ordered), len(failures), spent,
        *(round(quantile(ordered, q) * 1000, 3) for q in (0.50, 0.95, 0.99)),
    )  # fmt: skip


def quantile(ordered: list[float], q: float) -> float:
    """The nearest-rank quantile of sorted values; 0 when there are none."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


async def _client(
    address: Address, until: float, questions: list[str], latencies: list[float], failures: list[int]
) -> None:
    requests = cycle([address.request(question) for question in questions])
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        while time.perf_counter() < until:
            started = time.perf_counter()
            writer.write(next(requests))
            status = await _answer(reader)
            latencies.append(time.perf_counter() - started)
            if status != 200:
                failures.append(status)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    return int(head[9:12])


def main(arguments: list[str]) -> None:
    """The program; see the module."""
    host, port, clients, seconds, *where = arguments
    questions = [line.strip() for line in sys.stdin if line.strip()]
    load = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with load as runner:
        result = runner.run(run(Address(host, int(port), *where), int(clients), float(seconds), questions))
    document: dict[str, Any] = asdict(result) | {"per_second": round(result.per_second, 1)}
    print(json.dumps(document))


if __name__ == "__main__":
    main(sys.argv[1:])
