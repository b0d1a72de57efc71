"""A real PostgreSQL with pgvector for tests: one server per run, one fresh database per test.

In a conftest: `from tests.support.postgres import database_dsn as database_dsn, postgres_server as postgres_server`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from sibyl_runtime.store.embedded import EmbeddedPostgres
from tests.support.shared import SharedServer

_TEMPLATE = "sibyl_template"
_numbers = itertools.count(1)


class PostgresServer:
    """A server over a temporary directory; `dsn` is TCP with a password, as a cluster's would be."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sibyl-test-pg-"))
        # What a crash of the machine would lose does not matter here.
        self.postgres = EmbeddedPostgres(self.directory / "data", tcp=True, settings={"fsync": "off"})
        self.dsn = self.postgres.start()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
        with psycopg.connect(self.dsn_of(_TEMPLATE), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")

    def dsn_of(self, database: str, *, user: str | None = None, password: str | None = None) -> str:
        """The DSN of another database, or another user."""
        parts = urlsplit(self.dsn)
        netloc = parts.netloc if user is None else f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(path=f"/{database}", netloc=netloc))

    def create_database(self, *, template: str = _TEMPLATE) -> str:
        """The DSN of a new database, with the extension vector unless `template` says otherwise."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return self.dsn_of(name)

    def drop_database(self, dsn: str) -> None:
        """Remove a database made here, whoever is still connected."""
        name = urlsplit(dsn).path.lstrip("/")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Stop the server and remove its data."""
        self.postgres.stop()
        shutil.rmtree(self.directory)


_shared = SharedServer(PostgresServer, PostgresServer.close)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The run's PostgreSQL. Do not stop it: start one of your own for that."""
    with _shared.use() as server:
        yield server


@pytest.fixture
def database_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database with the extension vector."""
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)
