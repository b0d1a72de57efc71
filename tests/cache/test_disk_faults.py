"""The disk level, on a file that is damaged and a disk that is full, read-only or slow."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.cache.breaker import CircuitBreaker
from sibyl_runtime.cache.disk import FILE_NAME, DiskFault, DiskFile
from sibyl_runtime.errors import StartupError
from tests.cache.disk_files import SMALL, Clock, Opener, cache
from tests.cache.disk_files import opened as opened
from tests.support.small_volume import small_volume


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


async def test_a_lock_that_another_process_never_lets_go_ends_no_start(tmp_path: Path) -> None:
    with (tmp_path / "sibyl-cache.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of this opening of the file alone: all others wait, in this process too
        file = DiskFile(tmp_path, max_bytes=SMALL)
        kept = cache(file)
        await kept.set("k", b"1")
        assert await kept.get("k") is None
        assert "another process holds sibyl-cache.lock" in (await file.remarks())["error"]
        await file.close()
