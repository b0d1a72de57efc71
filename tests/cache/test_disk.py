"""The disk level, on a real file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.disk import FILE_NAME, DiskCache, DiskFault, DiskFile
from sibyl_runtime.cache.protocol import LevelStats
from sibyl_runtime.errors import StartupError
from tests.support.small_volume import small_volume

MEGABYTE = 1_000_000
SMALL = 20 * MEGABYTE
SEAL = 16
Opener = Callable[..., DiskFile]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    files: list[DiskFile] = []

    def opener(clock: Clock | None = None, max_bytes: int = SMALL, directory: Path = tmp_path) -> DiskFile:
        files.append(DiskFile(directory, max_bytes=max_bytes, clock=clock or Clock()))
        return files[-1]

    yield opener
    for file in files:
        await file.close()


def cache(file: DiskFile, namespace: str = "docs", kind: str = "answer", ttl: float = 100) -> DiskCache:
    return DiskCache(file, namespace=namespace, kind=kind, ttl=ttl, jitter=lambda life: life)


async def test_what_is_kept_is_there_after_a_restart(opened: Opener) -> None:
    file = opened()
    await cache(file).set("k", b"\x00value")
    await file.close()
    again = cache(opened())
    assert await again.get("k") == b"\x00value"
    assert await again.get("other") is None
    assert (again.stats()["disk"].hits, again.stats()["disk"].misses) == (1, 1)


async def test_kinds_and_workspaces_are_apart(opened: Opener) -> None:
    file = opened()
    await cache(file).set("k", b"1")
    assert await cache(file, kind="retrieval").get("k") is None
    assert await cache(file, namespace="other").get("k") is None


async def test_an_entry_ends_with_its_time(opened: Opener) -> None:
    clock = Clock()
    kept = cache(opened(clock))
    await kept.set("k", b"1")
    clock.now += 99
    assert await kept.get("k") == b"1"
    clock.now += 1
    assert await kept.get("k") is None


def taken(directory: Path) -> int:
    """What `du` shows, in bytes."""
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


@pytest.mark.parametrize(
    ("sizes", "most"),
    [((100_000,), 20), ((300,), 10), ((1_000_000,), 20), ((300, 1_000_000, 20_000), 20), ((400_000, 300), 10)],
)
async def test_the_file_and_its_journal_stay_within_their_size(
    opened: Opener, tmp_path: Path, sizes: tuple[int, ...], most: int
) -> None:
    clock, most = Clock(), most * MEGABYTE
    kept = cache(opened(clock, max_bytes=most), ttl=10**6)
    await kept.set("used", b"1")
    number = 0
    while (kept.stats()["disk"].evictions or 0) < 30:
        clock.now += 61
        await kept.set(f"k{number}", os.urandom(sizes[number % len(sizes)]))
        assert await kept.get("used") == b"1", "what is asked for stays"
        assert taken(tmp_path) <= most
        number += 1
    stats = kept.stats()["disk"]
    assert stats.errors == 0
    assert await kept.get("k0") is None
    assert await kept.get(f"k{number - 1}") is not None
    assert (stats.size_bytes or 0) > (0.5 * most if most > 10 * MEGABYTE else 0.1 * most)


async def test_what_is_told_of_entries_is_what_lies_there(opened: Opener, tmp_path: Path) -> None:
    clock = Clock()
    file = opened(clock)
    kept, other = cache(file), cache(file, kind="retrieval", ttl=10)
    for number in range(10):
        await kept.set(str(number), bytes(100))
    await kept.set("9", bytes(50))
    await other.set("k", bytes(7))
    assert kept.stats() == {
        "disk": LevelStats(0, 0, entries=10, size_bytes=9 * 116 + 66, evictions=0),
    }
    clock.now += 11
    await kept.set("more", b"")
    assert await other.get("k") is None
    assert other.stats()["disk"] == LevelStats(0, 1, entries=0, size_bytes=0, evictions=0), "what has ended is removed"


async def test_a_larger_file_than_allowed_is_begun_anew_under_a_process_that_uses_it(
    opened: Opener, tmp_path: Path
) -> None:
    first = cache(opened(max_bytes=3 * SMALL))
    for number in range(400):
        await first.set(f"k{number}", os.urandom(100_000))
    second = cache(opened())
    assert await second.get("k399") is None
    assert taken(tmp_path) <= SMALL
    await first.set("k", b"1")
    assert await second.get("k") == b"1", "the other process uses the new file"


async def test_a_file_that_somebody_removes_is_made_again(opened: Opener, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    kept = cache(opened(directory=directory))
    await kept.set("k", b"1")
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert await kept.get("k") is None
    await kept.set("k", b"2")
    assert await kept.get("k") == b"2"
    assert (directory / FILE_NAME).stat().st_size > 0


async def test_nobody_else_on_the_machine_may_read_it(opened: Opener, tmp_path: Path) -> None:
    directory = tmp_path / "cache"
    await cache(opened(directory=directory)).set("k", b"1")
    assert {oct(path.stat().st_mode & 0o777) for path in directory.iterdir()} == {"0o600"}
    assert oct(directory.stat().st_mode & 0o777) == "0o700"


async def test_a_value_that_would_outgrow_the_journal_is_not_kept(opened: Opener, tmp_path: Path) -> None:
    file = opened()
    kept = cache(file)
    await kept.set("k", bytes(file.largest))
    assert await kept.get("k") is None
    await kept.set("k", bytes(file.largest - SEAL))
    assert await kept.get("k") is not None
    assert kept.stats()["disk"].errors == 0


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET value = (SELECT value FROM entries ORDER BY id DESC LIMIT 1)",
        "UPDATE entries SET value = substr(value, 1, 5)",
        "UPDATE entries SET value = value || x'00'",
        "UPDATE entries SET value = zeroblob(length(value))",
    ],
)
async def test_what_is_not_what_was_kept_is_a_miss_and_goes(opened: Opener, tmp_path: Path, damage: str) -> None:
    kept = cache(opened())
    await kept.set("k", b"a value")
    await kept.set("l", b"another")
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute(damage)
    other.close()
    assert await kept.get("k") is None
    assert kept.stats()["disk"].errors == 0
    await kept.set("m", b"new")
    assert kept.stats()["disk"].entries == 2, "the wrong one is gone"
    await kept.set("k", b"new")
    assert await kept.get("k") == b"new"


@pytest.mark.parametrize("begin", [0, 100, 4096])
async def test_a_broken_file_is_begun_anew_while_it_is_used(
    opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture, begin: int
) -> None:
    file = opened()
    kept = cache(file)
    for number in range(200):
        await kept.set(str(number), bytes(1000))
    await file.close()
    with (tmp_path / FILE_NAME).open("r+b") as damaged:
        damaged.seek(begin)
        damaged.write(b"not a database, " * 20_000)
    one, two = cache(opened()), cache(opened())
    for number in range(200):
        assert await one.get(str(number)) is None
    await one.set("k", b"1")
    assert await one.get("k") == b"1"
    assert await two.get("k") == b"1"
    assert caplog.text.count("is begun anew") == 1
    assert one.stats()["disk"].errors == 0


@settings(max_examples=60)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=200)), min_size=1),
    cut=st.none() | st.floats(0, 1),
)
def test_whatever_happens_to_the_file_no_wrong_value_and_no_error_comes_of_it(
    damage: list[tuple[float, bytes]], cut: float | None
) -> None:
    async def run(directory: Path) -> None:
        file = DiskFile(directory, max_bytes=SMALL)
        for number in range(30):
            await cache(file).set(str(number), str(number).encode() * 400)
        await file.close()
        path = directory / FILE_NAME
        size = path.stat().st_size
        with path.open("r+b") as damaged:
            for place, written in damage:
                damaged.seek(int(place * size))
                damaged.write(written)
            if cut is not None:
                damaged.truncate(int(cut * size))
        file = DiskFile(directory, max_bytes=SMALL)
        kept = cache(file)
        for number in range(30):
            assert await kept.get(str(number)) in (None, str(number).encode() * 400)
            await kept.set(str(number), b"new")
            assert await kept.get(str(number)) in (None, b"new", str(number).encode() * 400)
        assert kept.stats()["disk"].errors == 0
        await file.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


async def test_a_file_of_another_form_is_begun_anew(opened: Opener, tmp_path: Path) -> None:
    for statement in ("PRAGMA user_version = 7", "CREATE TABLE entries (key TEXT)", "PRAGMA user_version = 1"):
        with sqlite3.connect(tmp_path / FILE_NAME) as other:
            other.execute(statement)
        other.close()
        kept = cache(opened())
        await kept.set("k", b"1")
        assert await kept.get("k") == b"1"
        (tmp_path / FILE_NAME).unlink()


async def test_while_nothing_can_be_written_what_is_there_is_read_and_told_once(
    opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = opened()
    kept = cache(file)
    await kept.set("k", b"1")
    assert "error" not in await file.remarks()
    with sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            await kept.set("k", b"2")
        assert await kept.get("k") == b"1"
        assert (await file.remarks())["error"] == "the cache on disk is not in full use: database is locked"
        other.execute("ROLLBACK")
    other.close()
    assert kept.stats()["disk"].errors >= 1
    assert caplog.text.count("it is passed by: database is locked") == 1


async def test_a_full_disk_is_a_miss_keeps_no_process_from_starting_and_mends(opened: Opener, tmp_path: Path) -> None:
    with small_volume(tmp_path / "small", 8) as volume:
        before = opened(directory=volume.directory)
        await cache(before).set("k", b"1")
        volume.fill()
        for number in range(200):
            await cache(before).set(f"{number}", os.urandom(50_000))
        assert await cache(before).get("k") == b"1", "what is there is read"
        assert "full" in (await before.remarks())["error"]
        await before.close()
        for path in volume.directory.glob("sibyl-cache*"):
            path.unlink()
        with (volume.directory / "more").open("wb", buffering=0) as more, contextlib.suppress(OSError):
            while True:
                more.write(bytes(4096))
        file = opened(directory=volume.directory)
        kept = cache(file)
        await kept.set("k", b"1")
        assert await kept.get("k") is None
        assert "error" in await file.remarks()
        volume.make_room()
        file._breakers = {name: CircuitBreaker(shortest=0) for name in file._breakers}
        await kept.set("k", b"2")
        assert await kept.get("k") == b"2"
        await file.close()


async def test_a_disk_that_mends_is_told_by_the_health_without_a_question(opened: Opener, tmp_path: Path) -> None:
    clock = Clock()
    file = opened()
    file._breakers = {name: CircuitBreaker(clock=clock) for name in file._breakers}
    with sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await cache(file).set("k", b"1")
        other.execute("ROLLBACK")
    other.close()
    assert "error" in await file.remarks()
    clock.now += 60
    assert "error" not in await file.remarks()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"caching\.disk\.path` is .*file/inner, where nothing can be written"):
        DiskFile(tmp_path / "file" / "inner", max_bytes=SMALL)


async def test_two_processes_share_a_file_and_one_that_is_killed_leaves_it_whole(
    opened: Opener, tmp_path: Path
) -> None:
    program = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from sibyl_runtime.cache.disk import DiskCache, DiskFile\n"
        "async def main():\n"
        f"    file = DiskFile(Path(sys.argv[1]), max_bytes={SMALL}, clock=lambda: 1_000_000.0)\n"
        "    kept = DiskCache(file, namespace='docs', kind='answer', ttl=100)\n"
        "    for number in range(50): await kept.set(f'k{number}', b'v' * 1000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    mine = cache(opened())
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path))
    assert await process.wait() == -9
    assert await mine.get("k49") == b"v" * 1000


async def test_processes_that_start_at_once_share_one_file_within_its_size(opened: Opener, tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from sibyl_runtime.cache import disk\n"
        "disk.TIMEOUT, disk._BUSY_SECONDS = 30, 30\n"
        "async def main():\n"
        f"    file = disk.DiskFile(Path(sys.argv[1]), max_bytes={SMALL}, clock=lambda: 1_000_000.0)\n"
        "    kept = disk.DiskCache(file, namespace='docs', kind='answer', ttl=100)\n"
        "    for number in range(100):\n"
        "        await kept.set(sys.argv[2] + str(number), os.urandom(100_000))\n"
        "        taken = sum(path.stat().st_blocks * 512 for path in Path(sys.argv[1]).iterdir())\n"
        f"        assert taken <= {SMALL}, taken\n"
        "    assert kept.stats()['disk'].errors == 0\n"
        "    await file.close()\n"
        "asyncio.run(main())\n"
    )
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(tmp_path), name, stderr=asyncio.subprocess.PIPE
        )
        for name in "abc"
    ]
    ended = [((await process.communicate())[1], process.returncode) for process in started]
    assert ended == [(b"", 0)] * 3
    mine = cache(opened())
    assert sum([await mine.get(f"{name}99") is not None for name in "abc"]) >= 1
    assert mine.stats()["disk"].entries == len(_kept_keys(tmp_path))


def _kept_keys(directory: Path) -> list[bytes]:
    with sqlite3.connect(directory / FILE_NAME) as other:
        keys = [key for (key,) in other.execute("SELECT key FROM entries")]
    other.close()
    return keys


async def test_nothing_of_it_runs_in_the_thread_of_the_loop(opened: Opener) -> None:
    threads: list[int] = []
    await opened().read(lambda _: threads.append(threading.get_ident()))
    assert threads
    assert threads[0] != threading.get_ident()


async def test_a_disk_that_hangs_holds_nobody_up(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sibyl_runtime.cache.disk.TIMEOUT", 0.01)
    monkeypatch.setattr("sibyl_runtime.cache.disk._CLOSING_SECONDS", 0.01)
    file, released = opened(), threading.Event()
    kept = cache(file)
    with contextlib.suppress(DiskFault):
        await file.read(lambda _: released.wait(30))
    assert await kept.get("k") is None
    assert (await file.remarks())["error"].endswith("no answer within 10 ms")
    await file.close()
    assert await kept.get("k") is None, "after the end, too"
    released.set()


def test_a_directory_that_is_read_only_is_named(tmp_path: Path) -> None:
    with small_volume(tmp_path / "small", 8) as volume:
        subprocess.run(["mount", "-o", "remount,ro", str(volume.directory)], check=True)
        with pytest.raises(StartupError, match=r"caching\.disk\.path` is .*, where nothing can be written"):
            DiskFile(volume.directory, max_bytes=SMALL)
