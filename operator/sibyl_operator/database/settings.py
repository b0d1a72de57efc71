"""postgresql.conf of a server that the operator runs, derived from what it may use. Pure.

Two rules keep servers running: nothing depends on the number of read replicas, so that adding one restarts nothing; and
`max_connections` moves in doublings, so that a few pods more or less restart nothing. docs/database.md gives the source
of each value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
FEWEST_CONNECTIONS: Final = 100
# superuser_reserved_connections, and room for the operator, for index builds and for an administrator.
SET_ASIDE: Final = 3 + 10
SHARED_MEMORY_BESIDE: Final = 64 * MIB


@dataclass(frozen=True)
class ServerSize:
    """What one server has: bytes of memory and of storage, cores, and the connections that clients may open."""

    memory: int
    storage: int
    cores: int
    connections: int


def max_connections(planned: int) -> int:
    """The smallest of 100, 200, 400, ... that holds the planned connections and those that are set aside."""
    steps = max(0, math.ceil(math.log2((planned + SET_ASIDE) / FEWEST_CONNECTIONS)))
    return int(FEWEST_CONNECTIONS * 2**steps)


def maintenance_memory(memory: int) -> int:
    """Bytes for one index build: an eighth of the memory, 32 MiB to 2 GiB."""
    return min(max(memory // 8, 32 * MIB), 2 * GIB)


def shared_memory(memory: int) -> int:
    """Bytes of /dev/shm: the workers of a parallel index build share `maintenance_work_mem` there."""
    return maintenance_memory(memory) + SHARED_MEMORY_BESIDE


def server_settings(size: ServerSize) -> Mapping[str, str]:
    """The parameters by name, as postgresql.conf holds them."""
    connections = max_connections(size.connections)
    return {
        "listen_addresses": "'*'",
        "max_connections": str(connections),
        **_memory(size, connections),
        **_write_ahead_log(size),
        **_replication(size),
        **_planner(size),
        "logging_collector": "off",
        "log_timezone": "'UTC'",
        "timezone": "'UTC'",
    }


def _memory(size: ServerSize, connections: int) -> dict[str, str]:
    return {
        "shared_buffers": _mib(max(size.memory // 4, 16 * MIB)),
        "effective_cache_size": _mib(max(size.memory * 3 // 4, 16 * MIB)),
        "maintenance_work_mem": _mib(maintenance_memory(size.memory)),
        # Three workers of it may run at once.
        "autovacuum_work_mem": _mib(min(maintenance_memory(size.memory), 64 * MIB)),
        "work_mem": _mib(min(max(size.memory // 4 // connections, 4 * MIB), 64 * MIB)),
        "huge_pages": "off",
        "dynamic_shared_memory_type": "posix",
    }


def _write_ahead_log(size: ServerSize) -> dict[str, str]:
    return {
        "wal_level": "replica",
        "min_wal_size": "80MB",
        "max_wal_size": _mib(min(max(size.storage // 10, 96 * MIB), 4 * GIB)),
        "checkpoint_timeout": "15min",
    }


def _replication(size: ServerSize) -> dict[str, str]:
    return {
        "max_wal_senders": "20",
        "max_replication_slots": "20",
        "max_slot_wal_keep_size": _mib(max(size.storage // 4, 64 * MIB)),
        "idle_replication_slot_timeout": "'3d'",
        # A replica that stops reading must not hold up the checkpoint that ends its slot.
        "tcp_user_timeout": "'30s'",
        "hot_standby": "on",
        "hot_standby_feedback": "on",
    }


def _planner(size: ServerSize) -> dict[str, str]:
    workers = min(size.cores, 8)
    return {
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "jit": "off",
        "max_worker_processes": "16",
        "max_parallel_workers": str(workers),
        "max_parallel_workers_per_gather": str(min(workers // 2, 2)),
        "max_parallel_maintenance_workers": str(min(workers // 2, 4)),
    }


def _mib(size: int) -> str:
    return f"{size // MIB}MB"
