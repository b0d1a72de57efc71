"""The disk level, on a real file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sibyl_runtime.cache.disk import FILE_NAME, DiskCache, DiskFile
from sibyl_runtime.errors import StartupError

MEGABYTE = 1_000_000
SMALL = 20 * MEGABYTE
Opener = Callable[..., DiskFile]


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


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


async def test_the_file_and_its_journal_stay_within_their_size(opened: Opener, tmp_path: Path) -> None:
    clock = Clock()
    kept = cache(opened(clock), ttl=10**6)
    await kept.set("used", b"1")
    for number in range(600):
        clock.now += 61
        await kept.set(f"k{number}", os.urandom(100_000))
        assert await kept.get("used") == b"1", "what is asked for stays"
        assert size_of(tmp_path) <= SMALL
    assert await kept.get("k0") is None
    assert await kept.get("k599") is not None
    assert kept.stats()["disk"].errors == 0


async def test_a_larger_file_than_allowed_is_emptied_at_the_start(opened: Opener, tmp_path: Path) -> None:
    file = opened(max_bytes=3 * SMALL)
    for number in range(400):
        await cache(file).set(f"k{number}", os.urandom(100_000))
    await file.close()
    await cache(opened()).get("k399")
    assert size_of(tmp_path) <= SMALL


async def test_a_value_that_would_fill_the_file_is_not_kept(opened: Opener) -> None:
    kept = cache(opened())
    await kept.set("k", bytes(5 * MEGABYTE))
    assert await kept.get("k") is None
    assert kept.stats()["disk"].errors == 0


@pytest.mark.parametrize("damage", ["swapped", "cut off", "flipped"])
async def test_what_is_not_what_was_written_is_a_miss_and_goes(opened: Opener, tmp_path: Path, damage: str) -> None:
    kept = cache(opened())
    await kept.set("k", b"a value")
    await kept.set("l", b"another")
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        if damage == "swapped":
            other.execute("UPDATE entries SET value = (SELECT value FROM entries WHERE key = 'docs:answer:l')")
        elif damage == "cut off":
            other.execute("UPDATE entries SET value = substr(value, 1, 5)")
        else:
            other.execute("UPDATE entries SET value = value || x'00'")
    other.close()
    assert await kept.get("k") is None
    await kept.set("k", b"new")
    assert await kept.get("k") == b"new"


async def test_a_file_that_is_no_database_is_begun_anew(
    opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, " * 1000)
    kept = cache(opened())
    await kept.set("k", b"1")
    assert await kept.get("k") == b"1"
    assert "is broken and begun anew" in caplog.text


async def test_a_fault_of_the_disk_is_a_miss_and_told_once(
    opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = cache(opened())
    await kept.set("k", b"1")
    with sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(3):
            await kept.set("k", b"2")
        other.execute("ROLLBACK")
    other.close()
    assert kept.stats()["disk"].errors >= 1
    assert caplog.text.count("is bypassed") == 1


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


async def test_nothing_of_it_runs_in_the_thread_of_the_loop(opened: Opener) -> None:
    threads: list[int] = []
    await opened().run(lambda _: threads.append(threading.get_ident()))
    assert threads
    assert threads[0] != threading.get_ident()
