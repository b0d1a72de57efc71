"""Starting a server again: when, after which pause, and what the log says."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.embedded import EmbeddedPostgres
from sibyl_runtime.store.supervision import LOOK_EVERY, STEADY, Supervision
from tests.store.samples import eventually


@dataclass
class Scripted:
    """A server whose starts go as told: None comes up, a text is the reason why it does not."""

    starts: list[str | None]
    pid: int | None = None
    exit_code: int | None = None
    stopped: int = 0

    def start(self) -> str:
        reason = self.starts.pop(0)
        if reason is not None:
            raise StartupError(reason)
        self.pid, self.exit_code = 1, None
        return "address"

    def stop(self) -> None:
        self.pid = None
        self.stopped += 1

    def die(self, code: int) -> None:
        self.pid, self.exit_code = None, code


@dataclass
class Time:
    """Passes only when somebody sleeps; `then` runs after each look at a server that is up."""

    then: Callable[[], None]
    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)
        if seconds == LOOK_EVERY:
            self.then()
        else:
            self.pauses.append(seconds)

    def __call__(self) -> float:
        return self.now


async def _ended(supervision: Supervision) -> None:
    """Wait until the script has run out, which ends the watch with the script's IndexError."""
    assert supervision._watch is not None
    with pytest.raises(IndexError):
        await supervision._watch


async def test_a_server_that_ends_is_started_at_once_and_then_after_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Scripted([None, "no room", "no room", None])
    time = Time(lambda: server.die(-signal.SIGKILL))
    supervision = Supervision(server, sleep=time.sleep, clock=time)
    with caplog.at_level(logging.WARNING):
        assert await supervision.start() == "address"
        await _ended(supervision)
        await supervision.close()
    assert time.pauses == [0.5, 1.0, 2.0]
    assert [record.getMessage() for record in caplog.records] == [
        "the embedded PostgreSQL ended by itself (killed by SIGKILL); it is started again",
        "no room; the next try is in 0.5 s",
        "no room; the next try is in 1 s",
        "the embedded PostgreSQL answers again after 1.5 s",
        "the embedded PostgreSQL ended by itself (killed by SIGKILL); it is started again",
    ]
    assert server.stopped == 1


async def test_the_pause_is_bounded() -> None:
    server = Scripted([None, *["broken"] * 12])
    time = Time(lambda: server.die(1))
    supervision = Supervision(server, sleep=time.sleep, clock=time)
    await supervision.start()
    await _ended(supervision)
    assert time.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0, 30.0]


async def test_a_server_that_ran_for_long_is_started_at_once() -> None:
    server = Scripted([None, None])
    time = Time(lambda: server.die(1) if time.now > 2 * STEADY else None)
    supervision = Supervision(server, sleep=time.sleep, clock=time)
    await supervision.start()
    await _ended(supervision)
    assert time.pauses == [0.5], "only the second end, at once after the first, waits"


async def test_a_first_start_that_fails_is_told_and_not_tried_again() -> None:
    server = Scripted(["no room"])
    supervision = Supervision(server)
    with pytest.raises(StartupError, match="no room"):
        await supervision.start()
    await supervision.close()
    assert server.stopped == 1


async def test_after_close_nothing_is_started_again(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", settings={"fsync": "off"})
    supervision = Supervision(server)
    await supervision.start()
    process = psutil.Process(server.pid)
    await supervision.close()
    assert server.pid is None
    assert not process.is_running()


async def test_a_real_server_that_is_killed_comes_back_under_the_same_address(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", settings={"fsync": "off"})
    supervision = Supervision(server)
    address = await supervision.start()
    try:
        first = server.pid
        assert first is not None
        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
        os.kill(first, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(first)] if psutil.pid_exists(first) else [], timeout=10)
        await eventually(lambda: _kept(address))
        # It answers a moment before its start has seen that it does.
        await eventually(lambda: _runs(server, other_than=first))
        with pytest.raises(StartupError, match=f"in use by PostgreSQL with process id {server.pid}"):
            EmbeddedPostgres(tmp_path / "data").start()
    finally:
        await supervision.close()


async def _runs(server: EmbeddedPostgres, *, other_than: int) -> bool:
    return server.pid not in (None, other_than)


async def _kept(address: str) -> bool:
    try:
        async with await psycopg.AsyncConnection.connect(address) as connection:
            return await (await connection.execute("SELECT value FROM kept")).fetchone() == (42,)
    except psycopg.OperationalError:
        return False
