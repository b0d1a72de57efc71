"""The replication slots of a Builtin database: what the primary keeps for each read replica.

A slot that nobody will use again is removed here, or the primary would keep its write-ahead log for nothing: that of a
replica that is no longer wanted, and that of one that can never catch up, which is copied anew with a new slot.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import psycopg

from sibyl_operator.api.checks.read_replicas import SLOT_PREFIX
from sibyl_operator.database.probe import first_line, place
from sibyl_operator.observed import ReplicationFacts, SlotFacts

# The ordinal of the replica's pod follows; the scripts of the servers say the same.
PREFIX: Final = SLOT_PREFIX
QUESTION: Final = """
SELECT slot_name, active, coalesce(wal_status = 'lost', false),
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
FROM pg_replication_slots WHERE slot_type = 'physical' AND starts_with(slot_name, %s) ORDER BY slot_name
"""
DROP: Final = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"


def slot_of(ordinal: int) -> str:
    """The name of the slot of one replica."""
    return f"{PREFIX}{ordinal}"


async def tend_slots(dsn: str, wanted: int, *, drop: bool, timeout: float) -> ReplicationFacts:
    """What each replica's slot says; slots that are of no more use are dropped when `drop` allows it.

    `timeout` in seconds covers all of it. Never raises for a server that fails.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _tend(dsn, wanted, drop=drop)
    except TimeoutError:
        return ReplicationFacts(error=f"{place(dsn)} did not answer within {timeout:g} s")
    except psycopg.Error as error:
        return ReplicationFacts(error=f"{place(dsn)}: {first_line(error, dsn)}")


async def _tend(dsn: str, wanted: int, *, drop: bool) -> ReplicationFacts:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, application_name="sibyl-operator") as link:
        cursor = await link.execute(QUESTION, [PREFIX])
        slots = [SlotFacts(*row) for row in await cursor.fetchall()]
        for slot in slots:
            if drop and not slot.streaming and (slot.lost or not _is_wanted(slot, wanted)):
                await _drop(link, slot.name)
    return ReplicationFacts(tuple(slot for slot in slots if _is_wanted(slot, wanted)))


async def _drop(link: psycopg.AsyncConnection[tuple[Any, ...]], name: str) -> None:
    try:
        await link.execute(DROP, [name])
    except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
        # Taken or gone since we looked; the next pass looks again.
        return


def _is_wanted(slot: SlotFacts, wanted: int) -> bool:
    return slot.name in {slot_of(ordinal) for ordinal in range(wanted)}
