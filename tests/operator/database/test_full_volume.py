"""A full volume, with a real PostgreSQL on a file system of 100 MB. Mounting one needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.builtin_database import Servers, ask, servers


@pytest.fixture
def place() -> Iterator[Servers]:
    with servers() as made:
        yield made


@pytest.fixture
def small_volume(place: Servers) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a small file system can only be mounted by root: what a full volume does is not tested here")
    directory = place.root / "small"
    directory.mkdir()
    mount(directory, "100m")
    if place.account:
        os.chown(directory, place.account.uid, place.account.gid)
    yield directory
    for server in place.made:
        if server._server is not None and server._server.poll() is None:
            server.kill()
    subprocess.run(["umount", str(directory)], check=True)


def mount(directory: Path, size: str, *options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here, so a full volume is not tested: {done.stderr}")


def fill(directory: Path, name: str = "ballast") -> None:
    with (directory / name).open("wb") as ballast:
        try:
            while True:
                ballast.write(b"\0" * 65536)
                ballast.flush()
        except OSError:
            return


def test_a_volume_that_is_too_small_for_initdb_is_told_in_the_last_line_and_leaves_nothing(
    place: Servers, small_volume: Path
) -> None:
    fill(small_volume)
    server = place.primary(data=small_volume)
    code, said = server.run("prepare-primary.sh")
    assert code == 1
    assert "No space left on device" in said[-1]
    assert not server.pgdata.exists()
    (small_volume / "ballast").unlink()
    server.prepare("prepare-primary.sh")
    server.serve()
    assert ask(server.dsn("sibyl", "first-app", "sibyl"), "SELECT 1") == 1


def test_a_full_volume_refuses_writes_goes_on_reading_and_recovers_once_there_is_room(
    place: Servers, small_volume: Path
) -> None:
    server = place.primary(data=small_volume)
    server.prepare("prepare-primary.sh")
    server.serve()
    dsn = server.dsn("sibyl", "first-app", "sibyl")
    ask(dsn, "CREATE TABLE notes AS SELECT 7 AS held, repeat('x', 1000) AS data")
    fill(small_volume)
    with pytest.raises((psycopg.errors.DiskFull, psycopg.OperationalError)) as refused:
        ask(dsn, "INSERT INTO notes SELECT 8, repeat('x', 1000) FROM generate_series(1, 30000)")
    (small_volume / "ballast").unlink()
    if not isinstance(refused.value, psycopg.errors.DiskFull):
        # The write-ahead log did not fit either: the server ended, as the container does, and starts again.
        server._server = None
        server.prepare("prepare-primary.sh")
        server.serve()
    ask(dsn, "INSERT INTO notes SELECT 8, 'y'")
    assert ask(dsn, "SELECT count(*) FROM notes WHERE data = 'y'") == 1
