"""Serves an open runtime over real sockets, with the server of `sibyl serve`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.runtime import Runtime
from sibyl_runtime.server.app import create_applications
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.server.process import Draining, Listeners, StopSignal, serve
from sibyl_runtime.server.sockets import bind, url_of


class Served(NamedTuple):
    """Clients of both ports."""

    api: httpx.AsyncClient
    watch: httpx.AsyncClient


@asynccontextmanager
async def serving(runtime: Runtime, metrics: RuntimeMetrics) -> AsyncIterator[Served]:
    """A running server. It closes the runtime when it stops, as that of a pod does."""
    lifecycle, stop, ready = Lifecycle(), StopSignal(), asyncio.Event()
    api, watch = bind("127.0.0.1", 0, setting="test"), bind("127.0.0.1", 0, setting="test")
    listeners = Listeners(api, watch)
    applications = create_applications(runtime, metrics, lifecycle, warms=runtime)
    task = asyncio.create_task(
        serve(applications, listeners, lifecycle, stop, draining=Draining(0.0, 5.0), on_ready=lambda _: ready.set())
    )
    await asyncio.wait({task, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        async with (
            httpx.AsyncClient(base_url=url_of(api), timeout=30) as api_client,
            httpx.AsyncClient(base_url=url_of(watch), timeout=30) as watch_client,
        ):
            yield Served(api_client, watch_client)
    finally:
        stop.asked.set()
        await task
        listeners.close()
