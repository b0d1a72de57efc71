"""Connections to PostgreSQL: a bounded pool, work under a deadline, failures in the caller's terms.

A connection is taken for one piece of work and given back at its end; nobody holds one while waiting for anything
else. What a caller sees is DatabaseUnavailable, Overloaded or DeadlineExceeded, and never a psycopg error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import orjson
import psycopg
from pgvector.psycopg.halfvec import register_halfvec_info
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.types import TypeInfo
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, Overloaded, SibylError, StartupError
from sibyl_runtime.store.failures import RETRY_AFTER, Endpoint, cause, endpoint_of, is_connection_loss, translate
from sibyl_runtime.workspace import VectorStoreProvider

logger = logging.getLogger(__name__)

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]
Work = Callable[[Connection], Awaitable[T]]

# Far beyond what a good filter needs; a filter that matches nothing would otherwise walk the whole graph.
MAX_SCAN_TUPLES = 20_000
_OPEN_TIMEOUT = 15.0
# The pool's own default, 300 s of doubling pauses, leaves a runtime down for a minute after its database is back.
_RECONNECT_TIMEOUT = 2.0
# How long a cancelled query may take to end in good order before its connection is thrown away.
_CANCEL_GRACE = 0.5
_CLOSE_TIMEOUT = 5.0
_CONNECT_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "sibyl",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def connect_options(dsn: str) -> dict[str, Any]:
    """What we add to a DSN, where the DSN does not say it itself."""
    given = conninfo_to_dict(dsn)
    return {name: value for name, value in _CONNECT_DEFAULTS.items() if name not in given}


async def connect(dsn: str, endpoint: Endpoint) -> Connection:
    """One connection outside the pool, in autocommit. Raises StartupError naming where it tried, and why it failed."""
    try:
        return await AsyncConnection.connect(dsn, autocommit=True, **connect_options(dsn))
    except psycopg.Error as error:
        raise unreachable(endpoint, error) from error


def unreachable(endpoint: Endpoint, error: BaseException) -> StartupError:
    """The database cannot be used at start."""
    return StartupError(
        f"cannot connect to {endpoint}: {cause(error)}; check `providers.vector_store.<name>.dsn` and that the "
        "database is up"
    )


class Database:
    """A pool of configured connections, and work on them. Made by `open_database`."""

    def __init__(self, pool: AsyncConnectionPool[Connection], endpoint: Endpoint) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._in_use = 0
        self._recheck: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[Any]] = set()

    @property
    def endpoint(self) -> Endpoint:
        """Where the pool connects to."""
        return self._endpoint

    def stats(self) -> dict[str, int]:
        """The pool's own figures (pool_size, pool_available, requests_waiting, requests_wait_ms, ...)."""
        return dict(self._pool.get_stats())

    async def run(self, work: Work[T], *, stage: str, timeout: float | None = None, repeatable: bool = False) -> T:
        """The result of `work` on a connection, within `timeout` seconds (None: no limit).

        `repeatable` work is done once more when its connection turns out to be dead: a server that restarted between
        two requests costs no request.
        """
        return await self._within(timeout, self._attempts(work, stage, 2 if repeatable else 1), stage)

    async def close(self) -> None:
        """Close every connection. Work in progress keeps its own until it ends."""
        unfinished = {*self._abandoned, *([self._recheck] if self._recheck else [])}
        if unfinished:
            await asyncio.wait(unfinished, timeout=_CLOSE_TIMEOUT)
        await self._pool.close()

    async def _attempts(self, work: Work[T], stage: str, attempts: int) -> T:
        while True:
            attempts -= 1
            try:
                async with self._connection() as connection:
                    return await work(connection)
            except psycopg.Error as error:
                lost = is_connection_loss(error)
                if lost:
                    self._start_recheck()
                if not lost or attempts == 0:
                    raise translate(error, self._endpoint, stage=stage) from error
            if self._recheck is not None:
                # Otherwise the second try may meet another connection that died in the same restart.
                await asyncio.wait({self._recheck})

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            connection = await self._pool.getconn()
        except (PoolTimeout, TooManyRequests, PoolClosed) as error:
            raise self._no_connection(error) from error
        self._in_use += 1
        try:
            async with connection:
                yield connection
        finally:
            self._in_use -= 1
            # Shielded: a connection whose return is cancelled halfway is lost to the pool.
            await asyncio.shield(self._pool.putconn(connection))

    def _no_connection(self, error: psycopg.Error) -> SibylError:
        """Nobody holds a connection and yet there is none: the server cannot be reached. Otherwise we are busy."""
        if isinstance(error, PoolClosed) or self._in_use == 0:
            return DatabaseUnavailable(f"no connection to {self._endpoint}", retry_after=RETRY_AFTER)
        return Overloaded(
            f"all {self._pool.max_size} database connections are in use; try again, or raise "
            "`providers.vector_store.<name>.pool_size`",
            retry_after=RETRY_AFTER,
        )

    def _start_recheck(self) -> None:
        """Throw dead idle connections out now: each would fail one request."""
        if self._recheck is None or self._recheck.done():
            # In a task of its own: cancelled halfway, the pool's check loses the connections it holds.
            self._recheck = asyncio.create_task(self._pool.check())

    async def _within(self, timeout: float | None, work: Coroutine[Any, Any, T], stage: str) -> T:
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout)
        except asyncio.CancelledError:
            await self._abandon(task)
            raise
        if done:
            return task.result()
        await self._abandon(task)
        raise DeadlineExceeded(f"the deadline passed during {stage}", details={"stage": stage})

    async def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancel the query at the server; a server that does not even answer to that gets no more of our time."""
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        task.add_done_callback(_ignore_outcome)
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=_CANCEL_GRACE)
        finally:
            # The second cancellation makes psycopg drop the connection instead of waiting for the first.
            task.cancel()


def _ignore_outcome(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def open_database(dsn: str, provider: VectorStoreProvider) -> Database:
    """Open the pool and wait for `pool_size` connections. Raises StartupError when they cannot be had."""
    endpoint = endpoint_of(dsn)
    largest = provider.pool_size + provider.max_overflow
    failures: list[BaseException] = []

    async def configure(connection: Connection) -> None:
        try:
            await _configure(connection, provider)
        except psycopg.Error as error:
            failures.append(error)
            raise

    pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
        dsn,
        kwargs={"autocommit": True, **connect_options(dsn)},
        open=False,
        min_size=provider.pool_size,
        max_size=largest,
        timeout=provider.pool_timeout,
        max_lifetime=provider.pool_recycle,
        max_waiting=4 * largest,
        reconnect_timeout=_RECONNECT_TIMEOUT,
        check=AsyncConnectionPool.check_connection if provider.pool_pre_ping else None,
        configure=configure,
        name="sibyl",
    )
    try:
        await pool.open(wait=True, timeout=_OPEN_TIMEOUT)
    except PoolTimeout as error:
        reason = f": {cause(failures[-1])}" if failures else ""
        raise StartupError(
            f"{endpoint} did not give {provider.pool_size} connections in {_OPEN_TIMEOUT:g} s{reason}; lower "
            "`providers.vector_store.<name>.pool_size`, or raise max_connections of the server"
        ) from error
    except asyncio.CancelledError:
        await pool.close()
        raise
    return Database(pool, endpoint)


async def _configure(connection: Connection, provider: VectorStoreProvider) -> None:
    """Settings by SET, not by connection options: a PgBouncer in between refuses options it does not know."""
    info = await TypeInfo.fetch(connection, "halfvec")
    if info is None:
        raise psycopg.OperationalError("the extension vector is not installed in this database")
    register_halfvec_info(connection, info)
    set_json_loads(orjson.loads, connection)
    settings = {
        "hnsw.ef_search": provider.hnsw_ef_search,
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.max_scan_tuples": MAX_SCAN_TUPLES,
        "ivfflat.iterative_scan": "relaxed_order",
        "statement_timeout": round(provider.timeout * 1000),
        "idle_in_transaction_session_timeout": 60_000,
    }
    if provider.probes is not None:
        settings["ivfflat.probes"] = provider.probes
    await connection.execute(b"; ".join(f"SET {name} = {value}".encode() for name, value in settings.items()))
