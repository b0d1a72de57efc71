"""The real program under more load than it can take: 200 clients for a minute, some of which behave badly.

Real PostgreSQL, real model, an API key for everybody; only the language model of one tool is scripted, to write without
an end. The generator runs beside the server, on the same processors. Afterwards everything must be as it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp
import psycopg
import pytest
import yaml

from bench.corpus import write_corpus
from tests.load.clients import CHAT, MCP, PLAIN, STREAM, TELL, Clients, Keys, Population
from tests.load.record import MEGABYTE, Held, Record, held
from tests.support.openai_server import OpenAIServer, endless, streamed
from tests.support.sibyl import Serving, serving, sibyl

CLIENTS = Population()
SECONDS = 60.0
WARM_UP_SECONDS = 8.0
DOCUMENTS = 200
PLACES = 64
DEADLINE = 5.0
MODEL_PAUSE = 0.02
"""Seconds for 2 kB: quicker than any model writes, slow enough to leave the processors to the server."""
AT_ONCE = 1.0
"""Seconds in which a server at rest answers one question, on a machine that does other things too."""
REST = 30.0
"""Seconds in which a server must have come to rest."""
MOST_GROWTH = 32 * MEGABYTE
POOLED_THREADS = 8
"""Threads of pools, which are made when first needed and then kept."""
KEYS = Keys(free="f" * 40, limited="l" * 40)
_TOOL = {"description": "Answer.", "parameters": {"query": {"type": "string", "required": True}}}
_STEP = {"use": "ai_generation.generation"}
WORKSPACE = {
    "name": "load",
    "providers": {
        "embedding": {"main": {"kind": "sentence-transformer", "precision": "int8"}},
        "vector_store": {"main": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}},
        "llm": {
            "quoting": {"kind": "extractive"},
            "telling": {"kind": "openai", "model": "gpt-4", "base_url": "${MODEL_URL}", "max_retries": 0},
        },
    },
    "mcp": {
        "timeout": DEADLINE,
        "max_concurrent_requests": PLACES,
        "authentication": {
            "type": "api_key",
            "keys": ["${FREE_KEY}", "${LIMITED_KEY}"],
            "key_metadata": {
                "${LIMITED_KEY}": {"name": "limited", "rate_limit": {"requests_per_minute": 300, "burst": 5}}
            },
        },
        "tools": [
            {"name": "search_documents", "pipeline": "search", **_TOOL},
            {"name": "tell", "pipeline": "tell", **_TOOL},
        ],
    },
    "pipelines": {
        "search": {"steps": [{"use": "rag.retrieval"}, {**_STEP, "config": {"provider": "quoting"}}]},
        "tell": {
            "steps": [
                {"use": "rag.retrieval"},
                {**_STEP, "config": {"provider": "telling", "subtechnique": "streaming", "chunk_size": 200}},
            ]
        },
    },
}


@contextmanager
def loaded_server(directory: Path, dsn: str, model: OpenAIServer) -> Iterator[tuple[Serving, list[str]]]:
    """The program over documents of one chunk each, and questions about them."""
    documents = directory / "documents"
    documents.mkdir()
    questions = write_corpus(documents, DOCUMENTS)
    file = directory / "workspace.yaml"
    file.write_text(yaml.safe_dump(WORKSPACE))
    environ = {
        "DATABASE_URL": dsn, "MODEL_URL": model.url, "FREE_KEY": KEYS.free, "LIMITED_KEY": KEYS.limited,
    }  # fmt: skip
    stored = sibyl("ingest", "-f", file, documents, cwd=directory, environ=environ)
    assert stored.code == 0, stored.stderr
    with serving(file, environ=environ) as server:
        yield server, questions


async def at_rest(server: Serving, wanted: Callable[[Held], bool]) -> Held:
    """What the server holds when it is `wanted`, or after REST seconds."""
    until = time.monotonic() + REST
    while True:
        now = await asyncio.to_thread(held, server)
        if (now.at_rest and wanted(now)) or time.monotonic() > until:
            return now
        await asyncio.sleep(0.25)


async def ask_once(server: Serving, path: str, question: str) -> tuple[int, float]:
    """Status, and seconds that a single request took."""
    started = time.monotonic()
    async with (
        aiohttp.ClientSession(server.api, headers={"X-API-Key": KEYS.free}) as session,
        session.post(path, json={"query": question}) as response,
    ):
        await response.read()
    return response.status, time.monotonic() - started


async def load(server: Serving, questions: list[str], seconds: float) -> tuple[Record, int]:
    """What the clients saw, and the most memory that the server had meanwhile, in bytes."""
    record = Record()
    peak = 0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, (await asyncio.to_thread(held, server)).resident)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        try:
            await Clients(server.api, KEYS, questions, record).run(CLIENTS, seconds)
        finally:
            done.set()
    return record, peak


async def streams_until_refused(server: Serving, question: str) -> tuple[int, int]:
    """How many streams without an end can be held open at once, and the status of the first that is refused."""
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(server.api, connector=connector))
        for number in range(2 * PLACES):
            request = session.post(TELL, json={"query": question}, headers={"X-API-Key": KEYS.free})
            response = await stack.enter_async_context(request)
            if response.status != 200:
                return number, response.status
            async for line in response.content:
                if line.startswith(b"event: sources"):
                    break
        return 2 * PLACES, 200


def database_sessions(dsn: str) -> dict[str, int]:
    """Sessions of the server's database by state, without the one that asks."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT coalesce(state, 'none'), count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            " GROUP BY 1"
        )
        return dict(rows.fetchall())


@pytest.mark.timeout(400)
async def test_overload_is_refused_in_time_and_leaves_nothing_behind(
    database_dsn: str, tmp_path: Path, openai_server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert CLIENTS.total == 200
    openai_server.reply_with(endless("word " * 400, pause=MODEL_PAUSE))
    with loaded_server(tmp_path, database_dsn, openai_server) as (server, questions):
        warm_up, _ = await load(server, questions, WARM_UP_SECONDS)
        warm = await at_rest(server, lambda _: True)
        record, peak = await load(server, questions, SECONDS)
        after = await at_rest(
            server,
            lambda now: (
                now.resident <= warm.resident + MOST_GROWTH
                and now.tasks <= warm.tasks
                and now.descriptors <= warm.descriptors
            ),
        )
        sessions = database_sessions(database_dsn)
        single = await ask_once(server, PLAIN, questions[0])
        openai_server.reply_with(streamed("on ", hangs=True))
        places = await streams_until_refused(server, questions[0])
        freed = await at_rest(server, lambda _: True)
        errors = [line for line in server.log if line["level"] == "ERROR"]
    with capsys.disabled():
        print()
        print(*record.lines(), sep="\n")
        print(f"warm       {warm}")
        print(f"peak       {peak / MEGABYTE:.0f} MB resident")
        print(f"after      {after}")
        print(
            f"single     status {single[0]} in {single[1] * 1000:.0f} ms; {places[0]} places free; sessions {sessions}"
        )
    assert warm_up.faults == record.faults == {}
    assert set(record.statuses) == {200, 429, 503}
    assert set(record.answered) >= {PLAIN, STREAM, CHAT, MCP}
    assert min(record.left["calls"], record.left["MCP calls"], record.left["streams"], record.cut) > 0
    assert record.quantile(0.95) <= DEADLINE
    assert after.at_rest, after
    assert after.resident <= warm.resident + MOST_GROWTH
    assert after.tasks <= warm.tasks
    assert after.descriptors <= warm.descriptors
    assert after.threads <= warm.threads + POOLED_THREADS
    assert sessions == {"idle": after.database_idle}
    assert after.database_idle == warm.database_idle
    assert single[0] == 200
    assert single[1] < AT_ONCE
    assert places == (PLACES, 503)
    assert freed.at_rest, freed
    assert errors == []
