from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, Overloaded, StartupError
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.embedded import EmbeddedPostgres
from sibyl_runtime.store.pool import Database, open_database
from tests.store.samples import eventually, provider

MOST_WAITING = 16
"""For a pool of one connection."""


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    """Two connections at most, a wait of 0.2 s for one."""
    opened = await open_database(database_dsn, provider(database_dsn, max_overflow=1, pool_timeout=0.2))
    yield opened
    await opened.close()


def _sleep(seconds: float) -> Any:
    async def work(connection: Connection) -> None:
        await connection.execute("SELECT pg_sleep(%s)", [seconds])

    return work


async def _one(connection: Connection) -> int:
    cursor = await connection.execute("SELECT 1")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_work_gets_a_configured_connection(database: Database) -> None:
    async def settings(connection: Connection) -> tuple[Any, ...] | None:
        cursor = await connection.execute(
            "SELECT current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan'),"
            " current_setting('hnsw.max_scan_tuples'), current_setting('statement_timeout'),"
            " current_setting('application_name')"
        )
        return await cursor.fetchone()

    assert await database.run(settings, stage="test") == ("40", "relaxed_order", "20000", "30s", "sibyl")


async def test_the_knobs_reach_the_pool(database_dsn: str) -> None:
    settings = provider(database_dsn, pool_size=2, max_overflow=3, hnsw_ef_search=77, timeout=5, probes=9)
    database = await open_database(database_dsn, settings)
    try:
        stats = database.stats()
        assert (stats["pool_min"], stats["pool_max"], stats["pool_available"]) == (2, 5, 2)

        async def shown(connection: Connection) -> tuple[Any, ...] | None:
            cursor = await connection.execute(
                "SELECT current_setting('hnsw.ef_search'), current_setting('statement_timeout'),"
                " current_setting('ivfflat.probes')"
            )
            return await cursor.fetchone()

        assert await database.run(shown, stage="test") == ("77", "5s", "9")
    finally:
        await database.close()


async def test_a_full_pool_is_overload_not_outage(database: Database) -> None:
    busy = [asyncio.create_task(database.run(_sleep(30), stage="test", timeout=2)) for _ in range(2)]

    async def both_busy() -> bool:
        return database.stats()["pool_size"] == 2 and database._in_use == 2

    await eventually(both_busy)
    with pytest.raises(Overloaded, match="all 2 database connections are in use") as refused:
        await database.run(_one, stage="test")
    assert refused.value.retry_after == 1
    for task in busy:
        task.cancel()
    await asyncio.wait(busy)


async def test_a_long_queue_is_refused_at_once(database_dsn: str) -> None:
    database = await open_database(database_dsn, provider(database_dsn, max_overflow=0, pool_timeout=60))
    try:
        holder = asyncio.create_task(database.run(_sleep(30), stage="test", timeout=20))

        async def held() -> bool:
            return database._in_use == 1

        await eventually(held)
        queue = [asyncio.create_task(database.run(_one, stage="test")) for _ in range(MOST_WAITING)]

        async def queued() -> bool:
            return database.stats()["requests_waiting"] == MOST_WAITING

        await eventually(queued)
        started = time.monotonic()
        with pytest.raises(Overloaded):
            await database.run(_one, stage="test")
        assert time.monotonic() - started < 10
        for task in (holder, *queue):
            task.cancel()
        await asyncio.wait([holder, *queue])
    finally:
        await database.close()


async def test_the_deadline_ends_the_query_in_the_server_too(database: Database, database_dsn: str) -> None:
    with pytest.raises(DeadlineExceeded) as exceeded:
        await database.run(_sleep(60), stage="search", timeout=0.05)
    assert exceeded.value.details == {"stage": "search"}
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as observer:

        async def ended() -> bool:
            cursor = await observer.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
            )
            return await cursor.fetchone() == (0,)

        await eventually(ended, within=5)
    assert await database.run(_one, stage="test") == 1


async def test_the_statement_timeout_is_a_deadline_as_well(database_dsn: str) -> None:
    database = await open_database(database_dsn, provider(database_dsn, timeout=0.05))
    try:
        with pytest.raises(DeadlineExceeded, match="statement timeout"):
            await database.run(_sleep(60), stage="search")
    finally:
        await database.close()


async def test_no_connection_is_lost_to_two_hundred_cancelled_requests(database_dsn: str) -> None:
    order = random.Random(7)
    # Patient: connections that a cancellation closed are replaced meanwhile, and a busy machine takes its time.
    database = await open_database(database_dsn, provider(database_dsn, max_overflow=1, pool_timeout=30))

    async def request() -> None:
        work = _sleep(order.choice([0, 0.001, 30]))
        await database.run(work, stage="test", timeout=order.choice([None, 0.001, 0.01, 5]))

    for _ in range(10):
        requests = [asyncio.create_task(request()) for _ in range(20)]
        await asyncio.wait(requests, timeout=order.choice([0, 0.002, 0.03]))
        for task in requests:
            task.cancel()
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        allowed = (asyncio.CancelledError, DeadlineExceeded, Overloaded)
        assert [o for o in outcomes if o is not None and not isinstance(o, allowed)] == []

    async def all_back() -> bool:
        stats = database.stats()
        return stats["pool_available"] == stats["pool_size"] == 2 and database._in_use == 0

    await eventually(all_back)
    assert await asyncio.gather(*(database.run(_one, stage="test") for _ in range(2))) == [1, 1]
    await database.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test may stop."""
    server = EmbeddedPostgres(tmp_path / "data", tcp=True, settings={"fsync": "off"})
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    yield server
    server.stop()


async def test_a_server_that_goes_away_is_an_outage_and_its_return_needs_no_restart(
    own_server: EmbeddedPostgres,
) -> None:
    settings = provider(own_server.dsn, pool_size=2, max_overflow=2, pool_timeout=0.2)
    database = await open_database(own_server.dsn, settings)
    try:
        cut = asyncio.create_task(database.run(_sleep(60), stage="search"))

        async def running() -> bool:
            return database._in_use == 1

        await eventually(running)
        await asyncio.to_thread(own_server.stop)
        with pytest.raises(DatabaseUnavailable) as lost:
            await cut
        assert lost.value.retry_after == 1
        assert "during search" in lost.value.message
        for _ in range(4):
            with pytest.raises(DatabaseUnavailable) as down:
                await database.run(_one, stage="search", repeatable=True)
            assert down.value.retry_after == 1
        await asyncio.to_thread(own_server.start)

        async def back() -> bool:
            try:
                return await database.run(_one, stage="search") == 1
            except DatabaseUnavailable:
                return False

        await eventually(back)
        assert await asyncio.gather(*(database.run(_one, stage="test", timeout=20) for _ in range(4))) == [1] * 4
    finally:
        await database.close()


async def test_an_outage_that_outlives_the_pools_own_patience_and_many_callers_ends_with_it(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sibyl_runtime.store.pool._RECONNECT_TIMEOUT", 0.2)
    database = await open_database(own_server.dsn, provider(own_server.dsn, max_overflow=0, pool_timeout=0.05))

    async def given_up() -> bool:
        return database.stats()["pool_size"] == 0

    async def back() -> bool:
        try:
            return await database.run(_one, stage="search", wait=5) == 1
        except DatabaseUnavailable:
            return False

    try:
        await asyncio.to_thread(own_server.stop)
        for _ in range(10):
            with pytest.raises(DatabaseUnavailable):
                await database.run(_one, stage="search")
        await eventually(given_up)
        assert database.stats()["requests_waiting"] == 0
        await asyncio.to_thread(own_server.start)
        await eventually(back)
    finally:
        await database.close()


async def test_a_server_that_restarted_between_two_requests_costs_no_request(own_server: EmbeddedPostgres) -> None:
    settings = provider(own_server.dsn, pool_size=3, max_overflow=0, pool_timeout=10)
    database = await open_database(own_server.dsn, settings)
    try:
        assert await database.run(_one, stage="search") == 1
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(own_server.start)
        for _ in range(6):
            assert await database.run(_one, stage="search", repeatable=True) == 1
    finally:
        await database.close()


@pytest.mark.parametrize("size", [2, 20])
async def test_pre_ping_finds_dead_connections_before_the_work_does(own_server: EmbeddedPostgres, size: int) -> None:
    settings = provider(own_server.dsn, pool_size=size, max_overflow=0, pool_timeout=10, pool_pre_ping=True)
    database = await open_database(own_server.dsn, settings)
    try:
        await asyncio.to_thread(own_server.stop)
        await asyncio.to_thread(own_server.start)
        for _ in range(4):
            assert await database.run(_one, stage="storing documents") == 1
    finally:
        await database.close()


async def test_a_server_that_hangs_costs_no_more_than_the_deadline_and_a_grace(
    database_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = await open_database(database_dsn, provider(database_dsn, max_overflow=0))
    pid = 0
    try:

        async def pid_of(connection: Connection) -> int:
            return connection.info.backend_pid

        pid = await database.run(pid_of, stage="test")
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await database.run(_one, stage="search", timeout=0.1)
        assert time.monotonic() - started < 4
    finally:
        os.kill(pid, signal.SIGCONT)
        await database.close()
    assert _logged(caplog) == [
        f"{database.endpoint}: does not even end search when it is cancelled; it hangs, or the network to it does"
    ]


async def test_an_outage_is_logged_once_with_its_place_and_a_refusal_is_none(
    own_server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sibyl_runtime.store.pool")
    database = await open_database(own_server.dsn, provider(own_server.dsn, pool_size=1, max_overflow=0))

    async def refused(connection: Connection) -> None:
        await connection.execute("SELECT 1/0")

    try:
        with pytest.raises(DatabaseUnavailable, match="the database refuses search"):
            await database.run(refused, stage="search")
        assert _logged(caplog) == []
        await asyncio.to_thread(own_server.stop)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await database.run(_one, stage="search", wait=0.1)
        await asyncio.to_thread(own_server.start)
        assert await database.run(_one, stage="search", wait=20) == 1
    finally:
        await database.close()
    begun, ended = _logged(caplog)
    assert begun.startswith(f"{database.endpoint}: the connection to the database was lost during search: ")
    assert ended == f"{database.endpoint} answers again"


def _logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "sibyl_runtime.store.pool"]


async def test_too_few_connections_at_start_are_explained(postgres_server: Any, database_dsn: str) -> None:
    name = database_dsn.rpartition("/")[2]
    with psycopg.connect(postgres_server.dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1")
    try:
        dsn = postgres_server.dsn_of(name, user="few", password="few")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sibyl_runtime.store.pool._OPEN_TIMEOUT", 0.5)
            with pytest.raises(StartupError, match=r"did not give 3 connections in 0.5 s.*pool_size"):
                await open_database(dsn, provider(dsn, pool_size=3))
    finally:
        with psycopg.connect(postgres_server.dsn, autocommit=True) as admin:
            admin.execute("DROP ROLE few")
