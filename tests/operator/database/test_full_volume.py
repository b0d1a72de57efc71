"""A full volume, with a real PostgreSQL on a file system of 100 MB."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.builtin_database import Servers, ask, servers
from tests.support.small_volume import SmallVolume, small_volume


@pytest.fixture
def place() -> Iterator[Servers]:
    with servers() as made:
        yield made


@pytest.fixture
def volume(place: Servers) -> Iterator[SmallVolume]:
    with small_volume(place.root / "small", 100) as mounted:
        if place.account:
            os.chown(mounted.directory, place.account.uid, place.account.gid)
        yield mounted
        place.stop()


def test_a_volume_that_is_too_small_for_initdb_is_told_in_the_last_line_and_leaves_nothing(
    place: Servers, volume: SmallVolume
) -> None:
    volume.fill()
    server = place.primary(data=volume.directory)
    code, said = server.run("prepare-primary.sh")
    assert code == 1
    assert "No space left on device" in said[-1]
    assert not server.pgdata.exists()
    volume.make_room()
    server.prepare("prepare-primary.sh")
    server.serve()
    assert ask(server.dsn("sibyl", "first-app", "sibyl"), "SELECT 1") == 1


def test_a_full_volume_refuses_writes_and_recovers_once_there_is_room(place: Servers, volume: SmallVolume) -> None:
    server = place.primary(data=volume.directory)
    server.prepare("prepare-primary.sh")
    server.serve()
    dsn = server.dsn("sibyl", "first-app", "sibyl")
    ask(dsn, "CREATE TABLE notes AS SELECT 7 AS held, repeat('x', 1000) AS data")
    volume.fill()
    with pytest.raises(psycopg.OperationalError) as refused:
        ask(dsn, "INSERT INTO notes SELECT 8, repeat('x', 1000) FROM generate_series(1, 30000)")
    if not isinstance(refused.value, psycopg.errors.DiskFull):
        # The write-ahead log did not fit either: the server has ended. Its last words tell, and it cannot start yet.
        code, said = server.run("prepare-primary.sh")
        assert code == 1
        assert "No space left on device" in said[-1]
    volume.make_room()
    server.stop()
    server.prepare("prepare-primary.sh")
    server.serve()
    ask(dsn, "INSERT INTO notes SELECT 8, 'y'")
    assert ask(dsn, "SELECT count(*) FROM notes WHERE data = 'y'") == 1
    assert ask(dsn, "SELECT held FROM notes LIMIT 1") == 7
