"""Keeps an embedded PostgreSQL running: one that ends by itself is started again, and the log says so.

Its address stays the same, so the connection pool finds the new server without being told.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from sibyl_runtime.errors import StartupError

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.2
"""Seconds between two looks at the server; a look costs microseconds."""
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY = 60.0
"""A server that ran for this many seconds is worth an immediate start again; one that ended sooner waits its pause."""
Sleep = Callable[[float], Awaitable[None]]


class Supervised(Protocol):
    """What is kept running. `start` and `stop` block, and may be called again."""

    @property
    def pid(self) -> int | None:
        """None while it does not run."""

    @property
    def exit_code(self) -> int | None:
        """How it ended last; negative for a signal."""

    def start(self) -> str:
        """Its address, once it answers. Raises StartupError."""

    def stop(self) -> None:
        """Ends it, and whatever is left of a start that failed."""


class Supervision:
    """One server from `start` to `close`. `sleep` and `clock` are in seconds."""

    def __init__(
        self, server: Supervised, *, sleep: Sleep = asyncio.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._sleep = sleep
        self._clock = clock
        self._starting: asyncio.Future[str] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Run the server, and keep it running; its address. Raises StartupError when the first start fails."""
        address = await self._start()
        self._watch = asyncio.create_task(self._keep_running())
        return address

    async def close(self) -> None:
        """End the watch, then the server."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        if self._starting is not None:
            # A thread cannot be cancelled: what it is still starting is stopped once it runs.
            await asyncio.wait({self._starting})
        await asyncio.to_thread(self._server.stop)

    async def _start(self) -> str:
        self._starting = asyncio.ensure_future(asyncio.to_thread(self._server.start))
        return await asyncio.shield(self._starting)

    async def _keep_running(self) -> None:
        pause = 0.0
        while True:
            started = self._clock()
            while self._server.pid is not None:
                await self._sleep(LOOK_EVERY)
            if self._clock() - started >= STEADY:
                pause = 0.0
            logger.warning(
                "the embedded PostgreSQL ended by itself (%s); it is started again", _ending(self._server.exit_code)
            )
            pause = await self._start_again(pause)

    async def _start_again(self, pause: float) -> float:
        """Try until it runs; the pause before the next try, should it end again soon."""
        began = self._clock()
        while True:
            if pause:
                await self._sleep(pause)
            pause = min(max(2 * pause, SHORTEST_PAUSE), LONGEST_PAUSE)
            try:
                await self._start()
            except StartupError as error:
                logger.error("%s; the next try is in %g s", error.message, pause)
            else:
                logger.warning("the embedded PostgreSQL answers again after %.1f s", self._clock() - began)
                return pause


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
