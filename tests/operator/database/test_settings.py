"""postgresql.conf from what a server may use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_operator.api.quantity import amount
from sibyl_operator.database.settings import (
    GIB,
    MIB,
    ServerSize,
    maintenance_memory,
    max_connections,
    server_settings,
    shared_memory,
)

RESERVED = 3
SIZES = st.builds(
    ServerSize,
    memory=st.integers(64 * MIB, 512 * GIB),
    storage=st.integers(GIB // 4, 10_000 * GIB),
    cores=st.integers(1, 256),
    connections=st.integers(1, 400_000),
)


def size(**changes: int) -> ServerSize:
    return ServerSize(**{"memory": GIB, "storage": 10 * GIB, "cores": 2, "connections": 84, **changes})


def number(text: str) -> int:
    return int(amount(text.removesuffix("B") + "i"))


@pytest.mark.parametrize(("planned", "allowed"), [(1, 100), (84, 100), (87, 100), (88, 200), (187, 200), (188, 400)])
def test_connections_move_in_doublings(planned: int, allowed: int) -> None:
    assert max_connections(planned) == allowed


@given(st.integers(1, 400_000))
def test_every_planned_connection_fits_beside_the_reserved_ones(planned: int) -> None:
    assert planned <= max_connections(planned) - RESERVED


def test_the_default_server_is_sized_for_one_gibibyte() -> None:
    found = server_settings(size())
    assert {name: found[name] for name in ("shared_buffers", "effective_cache_size", "maintenance_work_mem")} == {
        "shared_buffers": "256MB",
        "effective_cache_size": "768MB",
        "maintenance_work_mem": "128MB",
    }
    assert (found["work_mem"], found["max_wal_size"], found["max_slot_wal_keep_size"]) == ("4MB", "1024MB", "2560MB")


@given(SIZES)
def test_memory_that_is_always_held_leaves_room_for_the_rest(of: ServerSize) -> None:
    found = server_settings(of)
    assert number(found["shared_buffers"]) <= of.memory / 4
    assert number(found["effective_cache_size"]) <= of.memory
    assert number(found["maintenance_work_mem"]) <= of.memory / 2
    assert maintenance_memory(of.memory) < shared_memory(of.memory)


@given(SIZES)
def test_the_write_ahead_log_leaves_room_for_data_on_a_volume_of_a_gibibyte_or_more(of: ServerSize) -> None:
    found = server_settings(of)
    if of.storage >= GIB:
        assert number(found["max_wal_size"]) + number(found["max_slot_wal_keep_size"]) <= of.storage / 2


@given(SIZES)
def test_workers_never_outnumber_the_cores_that_there_are(of: ServerSize) -> None:
    found = server_settings(of)
    assert int(found["max_parallel_workers"]) <= of.cores
    assert int(found["max_parallel_workers_per_gather"]) <= int(found["max_parallel_workers"])


# What a standby must have at least as much of as its primary: for ever the same, so that neither can get ahead.
STANDBY = ("max_worker_processes", "max_wal_senders", "wal_level")


@given(SIZES)
def test_what_a_standby_must_share_with_its_primary_does_not_depend_on_sizes(of: ServerSize) -> None:
    assert {name: server_settings(of)[name] for name in STANDBY} == {
        name: server_settings(size())[name] for name in STANDBY
    }
