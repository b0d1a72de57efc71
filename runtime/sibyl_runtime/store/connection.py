"""One connection to PostgreSQL: how it is opened, and what is set on it before anybody uses it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import orjson
import psycopg
from pgvector.psycopg.halfvec import register_halfvec_info
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.types import TypeInfo
from psycopg.types.json import set_json_loads

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.failures import Endpoint, cause
from sibyl_runtime.workspace import VectorStoreProvider

logger = logging.getLogger(__name__)

Connection = AsyncConnection[tuple[Any, ...]]

# Far beyond what a good filter needs; a filter that matches nothing would otherwise walk the whole graph.
MAX_SCAN_TUPLES = 20_000
_PAUSE = 0.5
_CONNECT_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "sibyl",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def connect_options(dsn: str) -> dict[str, Any]:
    """What we add to a DSN, where the DSN does not say it itself."""
    given = conninfo_to_dict(dsn)
    return {name: value for name, value in _CONNECT_DEFAULTS.items() if name not in given}


async def connect(dsn: str, endpoint: Endpoint) -> Connection:
    """One connection outside the pool, in autocommit. Raises StartupError naming where it tried, and why it failed."""
    try:
        return await AsyncConnection.connect(dsn, autocommit=True, **connect_options(dsn))
    except psycopg.Error as error:
        raise StartupError(
            f"cannot connect to {endpoint}: {cause(error)}; check `providers.vector_store.<name>.dsn` and that the "
            "database is up"
        ) from error


async def await_server(dsn: str, endpoint: Endpoint, wait: float) -> Connection:
    """`connect`, tried again for `wait` seconds: a server that was made together with this process needs longer."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return await connect(dsn, endpoint)
        except StartupError as error:
            if time.monotonic() + _PAUSE > deadline:
                raise
            logger.info("waiting for the database: %s", error.message)
        await asyncio.sleep(_PAUSE)


async def configure(connection: Connection, provider: VectorStoreProvider) -> None:
    """Settings by SET, not by connection options: a PgBouncer in between refuses options it does not know."""
    info = await TypeInfo.fetch(connection, "halfvec")
    if info is None:
        raise psycopg.OperationalError("the extension vector is not installed in this database")
    register_halfvec_info(connection, info)
    set_json_loads(orjson.loads, connection)
    settings = {
        "hnsw.ef_search": provider.hnsw_ef_search,
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.max_scan_tuples": MAX_SCAN_TUPLES,
        "ivfflat.iterative_scan": "relaxed_order",
        "statement_timeout": round(provider.timeout * 1000),
        "idle_in_transaction_session_timeout": 60_000,
    }
    if provider.probes is not None:
        settings["ivfflat.probes"] = provider.probes
    await connection.execute(b"; ".join(f"SET {name} = {value}".encode() for name, value in settings.items()))
