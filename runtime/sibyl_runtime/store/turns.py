"""Turns among processes: work on a collection that only one of them may do at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections.abc import AsyncIterator

import psycopg

from sibyl_runtime.store.connection import Connection

logger = logging.getLogger(__name__)

_LOCK_POLL = 0.2


@contextlib.asynccontextmanager
async def turn(connection: Connection, work: str) -> AsyncIterator[None]:
    """Hold the session lock of `work`, such as "index documents".

    Polled: a statement that waits for a lock holds a snapshot, and a concurrent index build waits for those.
    """
    key = zlib.crc32(f"sibyl {work}".encode())
    waited = False
    while True:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [key])
        if await cursor.fetchone() == (True,):
            break
        if not waited:
            logger.info("another process is at it, waiting: %s", work)
            waited = True
        await asyncio.sleep(_LOCK_POLL)
    try:
        yield
    finally:
        # Closing the connection gives the lock back too, which is what happens when it is broken.
        with contextlib.suppress(psycopg.Error):
            await connection.execute("SELECT pg_advisory_unlock(%s)", [key])
