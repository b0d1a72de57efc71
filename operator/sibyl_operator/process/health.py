"""/healthz, /readyz and /metrics from a thread: they answer, and tell the truth, also when the event loop is stuck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Final, Self

BEAT_SECONDS: Final = 5.0
STALE_SECONDS: Final = 60.0
TEXT: Final = "text/plain; charset=utf-8"
EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Health:
    """What the threads of the process tell the probes. Written by the loops, read by the HTTP server.

    `seconds` is a monotonic clock. An outage of the API server is no reason to be restarted, so nothing here asks it.
    """

    seconds: Callable[[], float] = time.monotonic
    stale: float = STALE_SECONDS
    _beats: dict[str, float] = field(default_factory=dict)
    _state: str = "starting"

    def beat(self, loop: str) -> None:
        """The named event loop is alive."""
        self._beats[loop] = self.seconds()

    def stuck(self) -> tuple[str, ...]:
        """The event loops that have not beaten for too long."""
        now = self.seconds()
        return tuple(loop for loop, at in sorted(self._beats.items()) if now - at > self.stale)

    def become(self, state: str) -> None:
        """Say what the process is doing: starting, standby, syncing, leading or stopping."""
        self._state = state

    @property
    def state(self) -> str:
        """What the process is doing."""
        return self._state

    @property
    def ready(self) -> bool:
        """Standing by is ready too: otherwise a rollout of two replicas would never finish."""
        return self._state in ("standby", "leading")


async def heartbeat(health: Health, loop: str, lagged: Callable[[float], None], every: float = BEAT_SECONDS) -> None:
    """Beat for the running event loop until cancelled, and report by how many seconds it woke up late."""
    clock = asyncio.get_running_loop()
    while True:
        health.beat(loop)
        due = clock.time() + every
        await asyncio.sleep(every)
        lagged(max(0.0, clock.time() - due))


class HealthServer:
    """The HTTP server; use as a context. `port` 0 takes a free one, and `address` tells which."""

    def __init__(self, host: str, port: int, health: Health, exposition: Callable[[], bytes]) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(health, exposition))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that the server listens on."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(path: str, health: Health, exposition: Callable[[], bytes]) -> tuple[HTTPStatus, str, bytes]:
    if path == "/healthz":
        stuck = health.stuck()
        if stuck:
            return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"stuck: {', '.join(stuck)}\n".encode()
        return HTTPStatus.OK, TEXT, b"ok\n"
    if path == "/readyz":
        status = HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return status, TEXT, f"{health.state}\n".encode()
    if path == "/metrics":
        return HTTPStatus.OK, EXPOSITION, exposition()
    return HTTPStatus.NOT_FOUND, TEXT, b"known paths: /healthz, /readyz, /metrics\n"


def _handler(health: Health, exposition: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request; probes are too frequent to be logged."""

        timeout = 10

        def do_GET(self) -> None:
            status, content_type, body = _answer(self.path.partition("?")[0], health, exposition)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
