"""A fixed number of workers between the queue and the engine: bounded concurrency, one pass per key at a time.

A pass that fails in a way nobody foresaw is logged and retried with backoff; it never takes a worker or another
workspace down with it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from sibyl_operator.kube import KubeError
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.outcome import Outcome
from sibyl_operator.reconcile.queue import QueueClosed, WorkQueue
from sibyl_operator.reconcile.telemetry import Telemetry

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """What a worker drives."""

    async def reconcile(self, key: Key) -> Outcome:
        """One pass over one workspace."""
        ...


class Workers:
    """Takes keys off the queue until it is closed. `deadline` in seconds ends a pass that hangs."""

    def __init__(
        self, queue: WorkQueue[Key], engine: Engine, telemetry: Telemetry, *, count: int, deadline: float
    ) -> None:
        self._queue = queue
        self._engine = engine
        self._telemetry = telemetry
        self._count = count
        self._deadline = deadline

    async def run(self) -> None:
        """Work until the queue is closed; passes under way are finished."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._pass(key)
            finally:
                self._queue.done(key)

    async def _pass(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        # A task of its own, so that any failure at all can be looked at instead of ending the worker.
        task = asyncio.create_task(self._engine.reconcile(key), name=f"reconcile {key}")
        try:
            await asyncio.wait({task}, timeout=self._deadline)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        result = self._schedule(key, task)
        self._telemetry.reconciled(result, loop.time() - begun)

    def _schedule(self, key: Key, task: asyncio.Task[Outcome]) -> str:
        """Decide when the key comes back; returns the result for the metrics."""
        if task.cancelled():
            logger.error("reconcile took longer than %g s and was ended", self._deadline, extra={"workspace": str(key)})
            self._queue.retry(key)
            return "error"
        error = task.exception()
        if error is not None:
            self._failed(key, error)
            return "error"
        outcome = task.result()
        if outcome.retry:
            self._queue.retry(key, at_least=outcome.requeue_after or 0.0)
            return outcome.result
        self._queue.forget(key)
        if outcome.requeue_after is not None:
            self._queue.add_after(key, outcome.requeue_after)
        return outcome.result

    def _failed(self, key: Key, error: BaseException) -> None:
        at_least = error.retry_after or 0.0 if isinstance(error, KubeError) else 0.0
        delay = self._queue.retry(key, at_least=at_least)
        extra = {"workspace": str(key)}
        if isinstance(error, KubeError):
            logger.warning("reconcile failed, next try in %.1f s: %s", delay, error, extra=extra)
        else:
            logger.error("reconcile failed unexpectedly, next try in %.1f s", delay, exc_info=error, extra=extra)
