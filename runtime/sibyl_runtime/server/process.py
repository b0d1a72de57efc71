"""The life of a serving process: listen, tell, wait for a signal, drain, close.

Two small uvicorn servers share one event loop: the API, and on a port of its own what machines watch. In the same loop
because health must be asked where the work is done; a scrape costs it a few milliseconds (bench/serve.py measures).
On SIGTERM or SIGINT readiness turns false, the API answers what it has begun and closes, and the watch port stays up
until then, so that the last counts can still be scraped. A second signal ends the wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from sibyl_runtime.server.abortable import AbortableHttp
from sibyl_runtime.server.app import Applications
from sibyl_runtime.server.health import Lifecycle

logger = logging.getLogger("sibyl.server")
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s for which proxies keep an idle connection: the side that closes first must be theirs."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Listeners:
    """Bound sockets; `watch` is None when metrics are switched off."""

    api: socket.socket
    watch: socket.socket | None

    def close(self) -> None:
        """Give the ports back."""
        self.api.close()
        if self.watch is not None:
            self.watch.close()


@dataclass(frozen=True)
class Draining:
    """`delay`: seconds for which requests are still taken after the signal, while load balancers learn of it.
    `timeout`: seconds that requests in flight then get to finish."""

    delay: float
    timeout: float


class StopSignal:
    """The wish to stop, and how urgent it is."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.urgent = asyncio.Event()
        self.received: signal.Signals | None = None

    def __call__(self, received: signal.Signals) -> None:
        """Note one signal."""
        if self.asked.is_set():
            self.urgent.set()
        self.received = self.received or received
        self.asked.set()

    def install(self) -> None:
        """Take the process's stop signals."""
        loop = asyncio.get_running_loop()
        for each in STOP_SIGNALS:
            loop.add_signal_handler(each, self, each)


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which knows of one server only, and without its tick of 0.1 s."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Stop taking connections, and finish what was begun."""
        self.should_exit = True
        self._closing.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        # A tick of 10 is a second to on_tick, which renews the Date header then.
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 10
            await _wait(self._closing, 1.0)


async def serve(
    applications: Applications,
    listeners: Listeners,
    lifecycle: Lifecycle,
    stop: StopSignal,
    *,
    draining: Draining,
    on_ready: Callable[[Callable[[], int]], None],
) -> None:
    """Serve until `stop`. `on_ready` is called once both ports listen, with a reader of the open API connections."""
    api = _Server(_config(applications.api, draining.timeout, lifespan="on"))
    watch = _Server(_config(applications.watch, 1.0, lifespan="off"))
    async with asyncio.TaskGroup() as group:
        serving = [group.create_task(api.serve(sockets=[listeners.api]))]
        await api.listening.wait()
        if listeners.watch is not None:
            serving.append(group.create_task(watch.serve(sockets=[listeners.watch])))
            await watch.listening.wait()
        on_ready(lambda: len(api.server_state.connections))
        await stop.asked.wait()
        lifecycle.draining = True
        logger.info("stopping", extra={"fields": {"signal": stop.received.name if stop.received else "none"}})
        await _wait(stop.urgent, draining.delay)
        api.close()
        urgency = group.create_task(_hurry(stop, api))
        await asyncio.wait(serving[:1])
        urgency.cancel()
        watch.close()


def _config(app: object, timeout: float, *, lifespan: str) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # ASGI applications of starlette and uvicorn differ in the names of types only
        lifespan=lifespan,  # type: ignore[arg-type]  # on or off
        http=AbortableHttp,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(timeout)),
    )


async def _hurry(stop: StopSignal, api: uvicorn.Server) -> None:
    """A second signal: stop waiting for answers in progress. The lifespan still closes the database."""
    await stop.urgent.wait()
    for task in list(api.server_state.tasks):
        task.cancel()
    for connection in list(api.server_state.connections):
        connection.transport.close()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
