"""Alive, ready, healthy: three questions with three answers.

Alive: the event loop answers. Ready: a question could be answered now, so that traffic may come. Healthy: every part,
for people and the operator. A part that hangs delays none of the answers: the check of readiness runs aside, once for
all who ask, is kept for MAX_AGE and waited for no longer than PATIENCE, less than the second that kubelet waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sibyl_runtime.errors import SibylError
from sibyl_runtime.server.responses import JSON
from sibyl_runtime.server.seam import ServedRuntime

MAX_AGE = 1.0
PATIENCE = 0.8
GRACE = 5.0
"""Seconds for which a late check is not held against a database that was well: being busy is not being away."""
Value = TypeVar("Value")


class CheckPending(Exception):
    """The check has not answered in time; it goes on, and the next caller may find its answer."""


class CoalescedCheck(Generic[Value]):
    """One check at a time for any number of callers. `max_age` and `patience` in seconds."""

    def __init__(
        self,
        check: Callable[[], Awaitable[Value]],
        *,
        max_age: float = MAX_AGE,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._max_age = max_age
        self._patience = patience
        self._clock = clock
        self._task: asyncio.Task[Value] | None = None
        self._finished_at = 0.0
        self._unanswered_since: float | None = None

    async def result(self) -> Value:
        """A result not older than `max_age`. Raises what the check raised, or CheckPending."""
        task = self._task
        if task is None or (task.done() and self._clock() - self._finished_at > self._max_age):
            task = self._task = asyncio.get_running_loop().create_task(self._run())
            task.add_done_callback(_retrieve)
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if not done:
            raise CheckPending
        return task.result()

    def seconds_unanswered(self) -> float:
        """Since the first check began that no success has followed; 0 when the last one succeeded.

        Not since the last success: while nobody asks there is no check, and that silence is nobody's fault.
        """
        return 0.0 if self._unanswered_since is None else self._clock() - self._unanswered_since

    async def close(self) -> None:
        """Break off a check that is still running."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> Value:
        if self._unanswered_since is None:
            self._unanswered_since = self._clock()
        try:
            value = await self._check()
            self._unanswered_since = None
            return value
        finally:
            self._finished_at = self._clock()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """A failure that nobody waited for is no fault of the program: the next caller asks again."""
    if not task.cancelled():
        task.exception()


@dataclass
class Lifecycle:
    """`draining` is true from the signal to stop until the end: no new traffic, please."""

    draining: bool = False


class Health:
    """The health endpoints over one runtime."""

    def __init__(
        self,
        runtime: ServedRuntime,
        lifecycle: Lifecycle,
        *,
        warming: Callable[[], Mapping[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`warming` tells how far the caches are warm; None where they are not warmed."""
        self._runtime = runtime
        self._lifecycle = lifecycle
        self._warming = warming
        self._store = CoalescedCheck(runtime.services.store.check, clock=clock)

    def routes(self) -> list[BaseRoute]:
        """/health, /health/live and /health/ready."""
        return [
            Route("/health", self.health, methods=["GET"]),
            Route("/health/live", self.live, methods=["GET"]),
            Route("/health/ready", self.ready, methods=["GET"]),
        ]

    async def live(self, _: Request) -> Response:
        """The event loop answers."""
        return JSON({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """200 when a question could be answered now, else 503 with the reason."""
        reason = await self.not_ready_because()
        if reason is None:
            return JSON({"status": "ready"})
        return JSON({"status": "not ready", "reason": reason}, status_code=503, headers={"Retry-After": "1"})

    async def not_ready_because(self) -> str | None:
        """Why no traffic should come now; None when it may. The embedder is warm since the runtime was opened."""
        if self._lifecycle.draining:
            return "shutting down"
        try:
            await self._store.result()
        except CheckPending:
            seconds = self._store.seconds_unanswered()
            return f"the database has not answered for {seconds:.0f} s" if seconds > GRACE else None
        except SibylError as error:
            return error.message
        return None

    async def health(self, _: Request) -> Response:
        """Every part. 200 also when degraded: a restart of this process would mend nothing."""
        found = await self._runtime.health()
        return JSON(found if self._warming is None else {**found, "warming": self._warming()})

    async def close(self) -> None:
        """Break off a check that is still running."""
        await self._store.close()
