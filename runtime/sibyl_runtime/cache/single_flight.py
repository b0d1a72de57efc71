"""Identical questions that arrive together are computed once.

The computation belongs to nobody who waits for it: it runs in a task of its own, so that a caller who goes away takes
nothing from the others. When all have gone, it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sibyl_runtime.errors import DeadlineExceeded

T = TypeVar("T")


@dataclass
class _Flight(Generic[T]):
    key: str
    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """Computations under way, by key. One per process and kind of result."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}
        self._joined = 0

    @property
    def joined(self) -> int:
        """Calls that were served by somebody else's computation, or waited for one."""
        return self._joined

    def under_way(self, key: str) -> bool:
        """Whether a call with this key would join another one."""
        return key in self._flights

    async def run(self, key: str, compute: Callable[[], Awaitable[T]]) -> T:
        """The result of `compute`, or of a call with the same key that is already under way.

        An error goes to all who wait, but for DeadlineExceeded: the deadline was the first caller's, and who has
        time left tries again.
        """
        while True:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._start(key, compute)
            else:
                self._joined += 1
            try:
                return await self._wait(flight)
            except DeadlineExceeded:
                if leads:
                    raise

    def _start(self, key: str, compute: Callable[[], Awaitable[T]]) -> _Flight[T]:
        flight = _Flight(key, asyncio.ensure_future(_call(compute)))
        self._flights[key] = flight

        def land(task: asyncio.Task[T]) -> None:
            self._forget(flight)
            if not task.cancelled():
                # Read it even when nobody is left to hear it: asyncio complains about unread errors.
                task.exception()

        flight.task.add_done_callback(land)
        return flight

    async def _wait(self, flight: _Flight[T]) -> T:
        flight.waiting += 1
        try:
            # wait, not shield: the caller's cancellation and the computation's own must not be mistaken for each other.
            await asyncio.wait({flight.task})
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                # Forgotten at once: who asks now must not join a computation that is being cancelled.
                self._forget(flight)
                flight.task.cancel()
        return flight.task.result()

    def _forget(self, flight: _Flight[T]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


async def _call(compute: Callable[[], Awaitable[T]]) -> T:
    return await compute()
