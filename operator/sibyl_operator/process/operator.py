"""One operator from standby to its end: leads, works, and stops in the order that leaves nothing half done.

Whatever ends first decides how: a signal lets passes finish, a lost Lease does not, and a part that ends by itself is a
failure that a restart mends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from sibyl_operator.process.exit_codes import ExitCode
from sibyl_operator.process.health import Health
from sibyl_operator.process.lease import LeaderElection, LeadershipLost
from sibyl_operator.process.metrics import OperatorMetrics
from sibyl_operator.process.resync import Resync
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.queue import WorkQueue
from sibyl_operator.reconcile.workers import Workers

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Tells of changes until cancelled; see `sibyl_operator.handlers`."""

    async def run(self) -> None:
        """Watch; to return is a failure."""
        ...


@dataclass(frozen=True)
class Operator:
    """The parts of a running operator. `election` is None when there is only ever one process."""

    queue: WorkQueue[Key]
    workers: Workers
    resync: Resync
    watcher: Watcher
    election: LeaderElection | None
    health: Health
    metrics: OperatorMetrics
    resync_interval: float
    shutdown_grace: float

    async def run(self, stop: asyncio.Event) -> ExitCode:
        """Stand by, lead and work until `stop` is set or something ends."""
        if self.election is None:
            return await self._work(stop)
        self.health.become("standby")
        if not await _before(stop, self.election.acquire()):
            return ExitCode.STOPPED
        self.metrics.leads(True)
        code = ExitCode.LEADERSHIP_LOST
        try:
            code = await self._work(stop)
        finally:
            self.metrics.leads(False)
            # A Lease that was lost is another's to hold; everybody else lets go at once.
            if code is not ExitCode.LEADERSHIP_LOST:
                await self.election.release()
        return code

    async def _work(self, stop: asyncio.Event) -> ExitCode:
        self.health.become("syncing")
        stopped = _task("stop", stop.wait())
        workers = _task("workers", self.workers.run())
        watching = _task("watching", self._watch())
        lease = [_task("lease", self.election.hold())] if self.election is not None else []
        tasks = [stopped, workers, watching, *lease]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            code = _verdict(stopped, tasks)
            self.health.become("stopping")
            if code is ExitCode.STOPPED:
                code = await self._drain(watching, workers, lease)
            return code
        finally:
            await _cancelled(tasks)

    async def _watch(self) -> None:
        await self.resync.first()
        self.health.become("leading")
        async with asyncio.TaskGroup() as group:
            group.create_task(self.resync.run(self.resync_interval))
            group.create_task(_endless("watcher", self.watcher.run()))

    async def _drain(
        self, watching: asyncio.Task[Any], workers: asyncio.Task[Any], lease: list[asyncio.Task[Any]]
    ) -> ExitCode:
        """Take on nothing new and let passes under way finish, as long as this process may write."""
        logger.info("stopping: finishing what is under way")
        self.queue.close()
        await _cancelled([watching])
        await asyncio.wait([workers, *lease], timeout=self.shutdown_grace, return_when=asyncio.FIRST_COMPLETED)
        if any(task.done() for task in lease):
            return ExitCode.LEADERSHIP_LOST
        if not workers.done():
            logger.warning("passes still under way after %g s are cut off", self.shutdown_grace)
        return ExitCode.STOPPED


def _verdict(stopped: asyncio.Task[Any], tasks: list[asyncio.Task[Any]]) -> ExitCode:
    """Why the work ended: the worst of what is done counts."""
    code = ExitCode.STOPPED
    for task in tasks:
        if task is stopped or not task.done():
            continue
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LeadershipLost):
            logger.error("leadership lost: %s; stopping at once", error)
            return ExitCode.LEADERSHIP_LOST
        logger.error("%s ended unexpectedly", task.get_name(), exc_info=error)
        code = ExitCode.FAILED
    return code


async def _before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work; False when `stop` came first."""
    tasks = [_task("stop", stop.wait()), _task("work", work)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1].done():
            tasks[1].result()
        return not stop.is_set()
    finally:
        await _cancelled(tasks)


async def _endless(name: str, work: Awaitable[None]) -> None:
    await work
    raise RuntimeError(f"the {name} ended by itself")


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _task(name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(work, name=name)
