"""The only user of Kopf: it watches, reconnects and tells; every event becomes a call of one function, nothing else.

Handlers of Kopf that detect changes write annotations and finalizers, and lose updates under load; `on.event` does not.
Kopf runs in a thread with an event loop of its own, because it cancels whatever else runs in its loop when it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, Final

import kopf

from sibyl_operator.api.group import KIND
from sibyl_operator.desired.names import MANAGED_BY
from sibyl_operator.kube import Kind, Manifest, kind_of
from sibyl_operator.kube.config import Credentials
from sibyl_operator.reconcile.children import CHILD_KINDS

logger = logging.getLogger(__name__)

OnEvent = Callable[[str | None, Manifest], None]
Login = Callable[[], Awaitable[Credentials]]

STOP_SECONDS: Final = 10.0


class EndlessBackoff:
    """Pauses between tries of one request, in seconds: an outage of the API server ends a watch at no time."""

    def __iter__(self) -> Iterator[float]:
        pause = 1.0
        while True:
            yield pause
            pause = min(pause * 2, 30.0)


class Watcher:
    """Watches workspaces and their children until stopped. `on_event` and `on_beat` are called in Kopf's own thread.

    `on_event` gets None, ADDED, MODIFIED or DELETED, and the object. Without namespaces, all are watched.
    """

    def __init__(
        self, *, on_event: OnEvent, on_beat: Callable[[], Awaitable[None]], login: Login, namespaces: Sequence[str]
    ) -> None:
        self._on_event = on_event
        self._on_beat = on_beat
        self._login = login
        self._namespaces = tuple(namespaces)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

    async def run(self) -> None:
        """Watch until cancelled; returns or raises only when Kopf ended by itself."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        # A daemon: should Kopf ever fail to stop, the process ends without it.
        Thread(target=self._serve, args=(loop, ended), name="watcher", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._ask_to_stop()
            await asyncio.wait({ended}, timeout=STOP_SECONDS)
            if not ended.done():
                logger.warning("the watcher did not stop within %g s and is left behind", STOP_SECONDS)
            raise

    def _ask_to_stop(self) -> None:
        # First the mark, then the look, and the thread does it the other way round: one of both sees the other.
        self._stopping = True
        if self._loop is not None and self._watching is not None:
            self._loop.call_soon_threadsafe(self._watching.cancel)

    def _serve(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        error = asyncio.run(self._outcome())
        # Nobody listens any more when the process did not wait.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, ended, error)

    async def _outcome(self) -> BaseException | None:
        """Watch to the end, and tell what ended it: None when it was asked to."""
        # Older than Kopf's own tasks, so Kopf leaves it alone.
        beat = asyncio.ensure_future(self._on_beat())
        self._watching = asyncio.create_task(self._watch())
        self._loop = asyncio.get_running_loop()
        if self._stopping:
            self._watching.cancel()
        await asyncio.wait({self._watching})
        self._loop = None
        beat.cancel()
        return None if self._watching.cancelled() else self._watching.exception()

    async def _watch(self) -> None:
        # Stopped by cancelling it: its own flag makes it wait for five seconds for what will not come.
        await kopf.operator(
            registry=registry(self._on_event, self._login),
            settings=settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )


def _settle(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)


def registry(on_event: OnEvent, login: Login) -> kopf.OperatorRegistry:
    """An explicit registry: one event handler for each kind, and the login. Nothing global is touched."""
    handlers = kopf.OperatorRegistry()
    for name in (KIND, *CHILD_KINDS):
        kind = kind_of(name)
        kopf.on.event(kind.group, kind.version, kind.plural, id=kind.plural, registry=handlers)(forward(kind, on_event))

    async def connect(**_: Any) -> kopf.ConnectionInfo:
        found = await login()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            insecure=found.insecure,
            certificate_path=found.certificate_path,
            private_key_path=found.private_key_path,
            scheme=found.scheme,
            token=found.token,
            proxy_url=found.proxy_url,
            trust_env=True,
        )

    kopf.on.login(id="login", backoff=5.0, registry=handlers)(connect)
    return handlers


def forward(kind: Kind, on_event: OnEvent) -> Callable[..., Awaitable[None]]:
    """The handler of one kind."""

    async def handler(*, event: Any, **_: Any) -> None:
        on_event(event["type"], {"apiVersion": kind.api_version, "kind": kind.name, **event["object"]})

    return handler


def settings() -> kopf.OperatorSettings:
    """Kopf as a watcher: no peering, no Events, timeouts everywhere, and children filtered by the API server."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    # Looking out for new kinds would need rights on all CustomResourceDefinitions. Ours is there before this starts;
    # were it deleted, the watch would end, and with it the process, which waits for it when it starts anew.
    chosen.scanning.disabled = True
    chosen.execution.max_workers = 1
    chosen.watching.chunk_size = 500
    chosen.watching.server_timeout = 600
    chosen.watching.client_timeout = 620
    chosen.watching.connect_timeout = 10
    chosen.networking.connect_timeout = 10
    chosen.networking.request_timeout = 30
    chosen.networking.trust_env = True
    chosen.networking.error_backoffs = EndlessBackoff()
    # Its last resort is to kill the thread; ours is the end of the process.
    chosen.process.ultimate_exiting_timeout = None
    for name in CHILD_KINDS:
        kind = kind_of(name)
        chosen.watching.label_selectors[kind.group, kind.version, kind.plural] = (
            f"app.kubernetes.io/managed-by={MANAGED_BY}"
        )
    return chosen
