"""The disk level, on a real file: what is kept, how large the file is, and who shares it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from pathlib import Path

import pytest

from sibyl_runtime.cache.disk import FILE_NAME
from sibyl_runtime.cache.protocol import LevelStats
from tests.cache.disk_files import MEGABYTE, SMALL, Clock, Opener, cache, taken
from tests.cache.disk_files import opened as opened

SEAL = 16


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
