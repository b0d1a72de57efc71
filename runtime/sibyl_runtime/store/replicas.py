"""Reads on read replicas: spread over those that are there and fresh enough, and done on the primary otherwise.

A replica that fails is left out until it answers again, which is asked once a second, beside the searches. A replica
that has not received the newest version of the collection that this process knows of is not asked either: whoever has
just stored something finds it, and no answer is kept under a version that is newer than what it was made from.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, Overloaded, SibylError
from sibyl_runtime.store.connection import Connection
from sibyl_runtime.store.pool import Database, T, Work

PAUSE = 1.0
_CHECK_TIMEOUT = 1.0
# A replica that hangs must leave the primary enough time to answer.
_SHARE_OF_DEADLINE = 0.5

ReadVersion = Callable[[Connection], Awaitable[int]]


class Replica:
    """One read replica. It is left out until it has answered for the first time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.available = False
        self.version = 0
        """The newest version of the collection that it has shown to have."""

    def state(self) -> dict[str, Any]:
        """For /health."""
        return {"host": self.database.endpoint.host, "available": self.available}


class _Behind(Exception):
    """The replica has not received what it would have to know."""


class ReadReplicas:
    """The replicas of one collection. `read_version` reads the collection's version on a connection."""

    def __init__(
        self,
        primary: Database,
        replicas: Sequence[Replica],
        *,
        strategy: str,
        read_version: ReadVersion,
        shuffle: Callable[[list[Replica]], None] = random.shuffle,
        pause: float = PAUSE,
    ) -> None:
        self._primary = primary
        self._replicas = tuple(replicas)
        self._order = {"round_robin": self._in_turn, "random": self._at_random, "least_loaded": self._least_loaded}[
            strategy
        ]
        self._read_version = read_version
        self._shuffle = shuffle
        self._pause = pause
        self._turns = itertools.count()
        self._newest = 0
        self._counts: Counter[str] = Counter()
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start to connect. A replica that is away holds nothing up."""
        for replica in self._replicas:
            await replica.database.open(wait=False)
        await self.look()
        self._watching = asyncio.create_task(self._watch())

    def saw(self, version: int) -> None:
        """The primary has this version of the collection."""
        self._newest = max(self._newest, version)

    async def run(self, work: Work[T], *, stage: str, timeout: float) -> T:
        """The result of `work`, which only reads, within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for replica in self._order():
            left = deadline - time.monotonic()
            try:
                found = await self._on(replica, work, stage=stage, timeout=left * _SHARE_OF_DEADLINE)
            except _Behind:
                self._counts["replica_behind"] += 1
            except Overloaded:
                self._counts["replica_busy"] += 1
            except (DatabaseUnavailable, DeadlineExceeded) as error:
                self._counts["replica_failures"] += 1
                # Refused by a server that is well: a query that was in the way of what it received, for example.
                replica.available = "sqlstate" in error.details
            else:
                self._counts["searches_replica"] += 1
                return found
        self._counts["searches_primary"] += 1
        left = max(deadline - time.monotonic(), 0.0)
        return await self._primary.run(work, stage=stage, timeout=left, repeatable=True)

    def stats(self) -> dict[str, int]:
        """Searches by where they were answered, and why a replica was passed over."""
        names = ("searches_replica", "searches_primary", "replica_behind", "replica_busy", "replica_failures")
        return {
            **{name: self._counts[name] for name in names},
            "replicas": len(self._replicas),
            "replicas_available": sum(replica.available for replica in self._replicas),
        }

    def states(self) -> list[dict[str, Any]]:
        """Each replica, and whether it is asked."""
        return [replica.state() for replica in self._replicas]

    async def look(self) -> None:
        """Ask the primary for the newest version, and each replica whether it is there."""
        await asyncio.gather(self._look_at_primary(), *(self._look_at(replica) for replica in self._replicas))

    async def close(self) -> None:
        """Close the replicas' pools."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.gather(*(replica.database.close() for replica in self._replicas))

    async def _on(self, replica: Replica, work: Work[T], *, stage: str, timeout: float) -> T:
        async def fresh_work(connection: Connection) -> T:
            if replica.version < self._newest:
                replica.version = await self._read_version(connection)
                if replica.version < self._newest:
                    raise _Behind
            return await work(connection)

        return await replica.database.run(fresh_work, stage=stage, timeout=timeout, repeatable=True)

    def _there(self) -> list[Replica]:
        return [replica for replica in self._replicas if replica.available]

    def _in_turn(self) -> list[Replica]:
        there = self._there()
        first = next(self._turns) % len(there) if there else 0
        return there[first:] + there[:first]

    def _at_random(self) -> list[Replica]:
        there = self._there()
        self._shuffle(there)
        return there

    def _least_loaded(self) -> list[Replica]:
        return sorted(self._in_turn(), key=lambda replica: replica.database.in_use)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            await self.look()

    async def _look_at_primary(self) -> None:
        with contextlib.suppress(SibylError):
            self.saw(await self._version_of(self._primary))

    async def _look_at(self, replica: Replica) -> None:
        try:
            replica.version = max(replica.version, await self._version_of(replica.database))
        except Overloaded:
            return
        except SibylError as error:
            # A replica without the table yet is there, and behind.
            replica.available = "sqlstate" in error.details
        else:
            replica.available = True

    async def _version_of(self, database: Database) -> int:
        return await database.run(
            self._read_version, stage="check", timeout=_CHECK_TIMEOUT, wait=_CHECK_TIMEOUT / 2, repeatable=True
        )
