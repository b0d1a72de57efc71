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

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from sibyl_runtime.errors import DeadlineExceeded, Overloaded, SibylError, StartupError
from sibyl_runtime.store.connection import Connection, configure, connect_options
from sibyl_runtime.store.failures import (
    ADVICE,
    RETRY_AFTER,
    ConnectionLost,
    Endpoint,
    endpoint_of,
    is_connection_loss,
    translate,
)
from sibyl_runtime.workspace import VectorStoreProvider

logger = logging.getLogger(__name__)
T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

_OPEN_TIMEOUT = 15.0
# The pool's own default, 300 s of doubling pauses, leaves a runtime down for a minute after its database is back.
_RECONNECT_TIMEOUT = 2.0
_LONGEST_QUEUE = 16
"""Callers that may wait for each connection of a full pool. The default pool so takes all that the default of
`mcp.max_concurrent_requests` lets in: who is refused only here has paid for the embedding already, and the more are
refused so late, the fewer are answered."""
# How long a cancelled query may take to end in good order before its connection is thrown away.
_CANCEL_GRACE = 0.5
_CLOSE_TIMEOUT = 5.0


class Database:
    """A pool of configured connections, and work on them. Made by `open_database`."""

    def __init__(self, dsn: str, provider: VectorStoreProvider) -> None:
        self._endpoint = endpoint_of(dsn)
        self._provider = provider
        largest = provider.pool_size + provider.max_overflow
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            kwargs={"autocommit": True, **connect_options(dsn)},
            open=False,
            min_size=provider.pool_size,
            max_size=largest,
            timeout=provider.pool_timeout,
            max_lifetime=provider.pool_recycle,
            reconnect_timeout=_RECONNECT_TIMEOUT,
            check=self._check if provider.pool_pre_ping else None,
            configure=self._configure,
            name="sibyl",
        )
        self._in_use = 0
        self._waiting = 0
        self._most_waiting = _LONGEST_QUEUE * largest
        self._errors_before_success = 0
        self._away = False
        self._recheck: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[Any]] = set()

    @property
    def endpoint(self) -> Endpoint:
        """Where the pool connects to."""
        return self._endpoint

    @property
    def in_use(self) -> int:
        """Connections at work now."""
        return self._in_use

    async def open(self, *, wait: bool = True) -> None:
        """Wait for `pool_size` connections. Raises StartupError when they cannot be had.

        Without `wait` they are made as soon as the server is there.
        """
        if not wait:
            await self._pool.open(wait=False)
            return
        try:
            await self._pool.open(wait=True, timeout=_OPEN_TIMEOUT)
        except PoolTimeout as error:
            raise StartupError(
                f"{self._endpoint} did not give {self._provider.pool_size} connections in {_OPEN_TIMEOUT:g} s: lower "
                "`providers.vector_store.<name>.pool_size`, or raise max_connections of the server"
            ) from error
        except asyncio.CancelledError:
            await self._pool.close()
            raise

    def stats(self) -> dict[str, int]:
        """The pool's own figures (pool_size, pool_available, requests_waiting, requests_wait_ms, ...)."""
        # The pool's own count keeps callers that have gone until it next gets a connection.
        return {**self._pool.get_stats(), "requests_waiting": self._waiting}

    async def run(
        self,
        work: Work[T],
        *,
        stage: str,
        timeout: float | None = None,
        wait: float | None = None,
        repeatable: bool = False,
    ) -> T:
        """The result of `work` on a connection, within `timeout` seconds (None: no limit).

        `wait` is the longest wait for a connection, in seconds; None is the provider's `pool_timeout`.
        `repeatable` work is done once more when its connection turns out to be dead: a server that restarted between
        two requests costs no request.
        """
        try:
            result = await self._within(timeout, self._attempts(work, stage, wait, 2 if repeatable else 1), stage)
        except ConnectionLost as error:
            self._log_outage(error.message)
            raise
        if self._away:
            logger.info("%s answers again", self._endpoint)
        self._away = False
        return result

    async def close(self) -> None:
        """Close every connection. Work in progress keeps its own until it ends."""
        unfinished = {*self._abandoned, *([self._recheck] if self._recheck else [])}
        if unfinished:
            await asyncio.wait(unfinished, timeout=_CLOSE_TIMEOUT)
        await self._pool.close()

    def _log_outage(self, message: str) -> None:
        """Once until it answers again, and with its address, which callers are not told."""
        if not self._away:
            logger.warning("%s: %s", self._endpoint, message)
        self._away = True

    async def _attempts(self, work: Work[T], stage: str, wait: float | None, attempts: int) -> T:
        while True:
            attempts -= 1
            try:
                async with self._connection(wait) as connection:
                    return await work(connection)
            except psycopg.Error as error:
                lost = is_connection_loss(error)
                if lost:
                    self._start_recheck()
                if not lost or attempts == 0:
                    raise translate(error, stage=stage) from error
            if self._recheck is not None:
                # Otherwise the second try may meet another connection that died in the same restart.
                await asyncio.wait({self._recheck})

    @contextlib.asynccontextmanager
    async def _connection(self, wait: float | None) -> AsyncIterator[Connection]:
        connection = await self._taken(wait)
        self._in_use += 1
        try:
            async with connection:
                yield connection
        finally:
            try:
                # Shielded: a connection whose return is cancelled halfway is lost to the pool.
                await asyncio.shield(self._pool.putconn(connection))
            finally:
                self._in_use -= 1

    async def _taken(self, wait: float | None) -> Connection:
        # Not by the pool's `max_waiting`: it counts callers that have gone, and a full queue makes no connection. An
        # outage that outlives `reconnect_timeout` would then never end.
        if self._waiting >= self._most_waiting:
            raise self._no_connection(waited_in_vain=False)
        self._waiting += 1
        try:
            return await self._pool.getconn(timeout=wait)
        except (PoolTimeout, PoolClosed) as error:
            raise self._no_connection(waited_in_vain=True) from error
        finally:
            self._waiting -= 1

    def _no_connection(self, *, waited_in_vain: bool) -> SibylError:
        """Nobody holds a connection and yet there is none to be had: the server is away. Otherwise we are busy."""
        # A queue can be full for a moment because connections are being made; that alone is no outage.
        if self._pool.closed or (self._in_use == 0 and (waited_in_vain or self._cannot_connect())):
            return ConnectionLost(f"no connection to the database; {ADVICE}", retry_after=RETRY_AFTER)
        return Overloaded(
            f"all {self._pool.max_size} database connections are in use; try again, or raise "
            "`providers.vector_store.<name>.pool_size`",
            retry_after=RETRY_AFTER,
        )

    def _cannot_connect(self) -> bool:
        """Whether an attempt to connect has failed since the last one that succeeded."""
        return self._pool.get_stats().get("connections_errors", 0) > self._errors_before_success

    async def _configure(self, connection: Connection) -> None:
        await configure(connection, self._provider)
        self._errors_before_success = self._pool.get_stats().get("connections_errors", 0)

    async def _check(self, connection: Connection) -> None:
        """A connection that is dead has the others looked at too: the pool pauses longer after each one it meets."""
        try:
            await AsyncConnectionPool.check_connection(connection)
        except Exception:
            self._start_recheck()
            raise

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
            await self._abandon(task, stage)
            raise
        if done:
            return task.result()
        await self._abandon(task, stage)
        raise DeadlineExceeded(f"the deadline passed during {stage}", details={"stage": stage})

    async def _abandon(self, task: asyncio.Task[Any], stage: str) -> None:
        """Cancel the query at the server; a server that does not even answer to that gets no more of our time."""
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        task.add_done_callback(_ignore_outcome)
        task.cancel()
        try:
            ended, _ = await asyncio.wait({task}, timeout=_CANCEL_GRACE)
            if not ended:
                self._log_outage(f"does not even end {stage} when it is cancelled; it hangs, or the network to it does")
        finally:
            # The second cancellation makes psycopg drop the connection instead of waiting for the first.
            task.cancel()


def _ignore_outcome(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def open_database(dsn: str, provider: VectorStoreProvider) -> Database:
    """Open the pool and wait for `pool_size` connections. Raises StartupError when they cannot be had."""
    database = Database(dsn, provider)
    await database.open()
    return database
