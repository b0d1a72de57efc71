"""Ask a PostgreSQL what it is: reachable, which version, which pgvector, how many connections it allows."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import conninfo

from sibyl_operator.observed import DatabaseFacts

QUESTION = """
SELECT current_setting('server_version'),
       (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
       current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0)
"""


async def probe_database(dsn: str, *, timeout: float) -> DatabaseFacts:
    """Connect, ask once, leave. `timeout` in seconds covers all of it. Never raises for a database that fails:
    the reason, free of the password, is in `error`."""
    try:
        async with asyncio.timeout(timeout):
            return await _ask(dsn)
    except TimeoutError:
        return _unreachable(f"{place(dsn)} did not answer within {timeout:g} s")
    except psycopg.Error as error:
        return _unreachable(f"{place(dsn)}: {first_line(error, dsn)}")


async def _ask(dsn: str) -> DatabaseFacts:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, application_name="sibyl-operator") as link:
        cursor = await link.execute(QUESTION)
        row = await cursor.fetchone()
    assert row is not None
    return DatabaseFacts(
        reachable=True,
        error=None,
        server_version=row[0],
        vector_version=row[1],
        max_connections=row[2],
        reserved_connections=row[3],
    )


def _unreachable(error: str) -> DatabaseFacts:
    return DatabaseFacts(
        reachable=False,
        error=error,
        server_version=None,
        vector_version=None,
        max_connections=None,
        reserved_connections=None,
    )


def place(dsn: str) -> str:
    """Host, port and database of the DSN; nothing else of it may be shown."""
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        return "the DSN in the Secret cannot be parsed"
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def first_line(error: psycopg.Error, dsn: str) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    try:
        password = conninfo.conninfo_to_dict(dsn).get("password")
    except psycopg.Error:
        return type(error).__name__
    return text.replace(str(password), "[redacted]") if password else text
