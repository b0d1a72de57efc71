"""Replication slots of a real primary, tended with the rights of the replication role and no others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import psycopg
import pytest

from sibyl_operator.database.slots import slot_of, tend_slots
from sibyl_operator.observed import SlotFacts
from tests.support.builtin_database import Server, Servers, ask, servers
from tests.support.conditions import eventually


@pytest.fixture(scope="module")
def place() -> Iterator[Servers]:
    with servers() as made:
        yield made


@pytest.fixture(scope="module")
def primary(place: Servers) -> Server:
    server = place.primary()
    conf = server.directory / "config" / "postgresql.conf"
    # Small enough for a slot to fall behind within a test.
    text = conf.read_text().replace("max_slot_wal_keep_size = 2560MB", "max_slot_wal_keep_size = 16MB")
    conf.write_text(text.replace("max_wal_size = 1024MB", "max_wal_size = 32MB").replace("80MB", "32MB"))
    server.prepare("prepare-primary.sh")
    server.serve()
    return server


def replication(server: Server) -> str:
    return server.dsn("sibyl_replication", "first-replication", "postgres")


def make(server: Server, *names: str) -> None:
    for name in names:
        ask(server.superuser(), f"SELECT pg_create_physical_replication_slot('{name}', true)")


def held(server: Server) -> list[str]:
    with psycopg.connect(server.superuser()) as link:
        return [name for (name,) in link.execute("SELECT slot_name FROM pg_replication_slots ORDER BY slot_name")]


def clear(server: Server) -> None:
    ask(server.superuser(), "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots")


async def test_slots_of_replicas_that_are_not_wanted_are_dropped_and_those_of_others_kept(primary: Server) -> None:
    make(primary, slot_of(0), slot_of(1), slot_of(2), "theirs")
    facts = await tend_slots(replication(primary), 1, drop=False, timeout=10)
    assert [slot.name for slot in facts.slots] == [slot_of(0)]
    assert len(held(primary)) == 4
    await tend_slots(replication(primary), 1, drop=True, timeout=10)
    assert held(primary) == [slot_of(0), "theirs"]
    clear(primary)


async def test_a_slot_that_can_never_be_used_again_is_told_and_dropped(primary: Server) -> None:
    make(primary, slot_of(0))
    ask(primary.superuser(), "CREATE TABLE wal (data text)")
    for _ in range(6):
        ask(primary.superuser(), "INSERT INTO wal SELECT repeat('x', 900) FROM generate_series(1, 20000)")
        ask(primary.superuser(), "SELECT pg_switch_wal()")
    ask(primary.superuser(), "CHECKPOINT")
    facts = await tend_slots(replication(primary), 1, drop=True, timeout=10)
    assert [(slot.streaming, slot.lost) for slot in facts.slots] == [(False, True)]
    assert held(primary) == []
    assert (await tend_slots(replication(primary), 1, drop=True, timeout=10)).slots == ()


async def test_a_streaming_replica_keeps_its_slot_until_it_is_gone(place: Servers, primary: Server) -> None:
    replica = place.replica(primary)
    replica.prepare("prepare-replica.sh")
    replica.serve()
    eventually(lambda: ask(primary.superuser(), "SELECT bool_and(active) FROM pg_replication_slots") is True)
    facts = await tend_slots(replication(primary), 1, drop=True, timeout=10)
    assert facts.slots == (SlotFacts(slot_of(0), True, False, facts.slots[0].waiting_bytes),)
    # Scaled down, and the pod not gone yet.
    await tend_slots(replication(primary), 0, drop=True, timeout=10)
    assert held(primary) == [slot_of(0)]
    replica.stop()
    eventually(lambda: ask(primary.superuser(), "SELECT bool_or(active) FROM pg_replication_slots") is False)
    await tend_slots(replication(primary), 0, drop=True, timeout=10)
    assert held(primary) == []
    # Wanted again: copied with a new slot.
    shutil.rmtree(replica.pgdata)
    replica.prepare("prepare-replica.sh")
    assert held(primary) == [slot_of(0)]
    clear(primary)


async def test_a_server_that_is_away_is_a_fact_without_its_password(place: Servers) -> None:
    facts = await tend_slots("postgresql://sibyl_replication:secret-word@127.0.0.1:1/postgres", 1, drop=True, timeout=5)
    assert facts.slots == ()
    assert facts.error is not None
    assert facts.error.startswith("127.0.0.1:1/postgres: ")
    assert "secret-word" not in facts.error
