"""What PostgreSQL's failures mean to a caller: the one place that knows SQLSTATE classes.

No message holds a DSN. libpq quotes a malformed DSN in full, password included, so its text is never passed on there.
Where the database is, callers are not told: that is in the log, and in errors of the start.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, SibylError, StartupError

RETRY_AFTER = 1.0
ADVICE = "answers return by themselves when it runs; the log of the service says where it should be"
_ADDRESS = re.compile(r'connection to server (at|on socket) "[^"]*"( \([^)]*\))?(, port \d+)? failed: ')


class ConnectionLost(DatabaseUnavailable):
    """PostgreSQL cannot be reached: nothing it was asked was refused."""


@dataclass(frozen=True)
class Endpoint:
    """Where a DSN leads, fit to be shown."""

    host: str
    port: str
    database: str
    user: str

    def __str__(self) -> str:
        return f"PostgreSQL at host {self.host}, port {self.port}, database {self.database}, user {self.user}"


def endpoint_of(dsn: str) -> Endpoint:
    """Raises StartupError when `dsn` is no connection string."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise StartupError(
            "`providers.vector_store.<name>.dsn` is not a PostgreSQL connection string (its text is not shown, it may "
            "hold a password); expected postgresql://user:password@host:5432/database"
        ) from None

    def part(name: str, variable: str, default: str) -> str:
        return str(parts.get(name) or os.environ.get(variable) or default)

    user = part("user", "PGUSER", "(the system's user)")
    return Endpoint(
        host=part("host", "PGHOST", "localhost"),
        port=part("port", "PGPORT", "5432"),
        database=part("dbname", "PGDATABASE", user),
        user=user,
    )


def is_connection_loss(error: psycopg.Error) -> bool:
    """True when the connection is gone, or the server is ending it: another connection may work."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return False
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith("08") or state in {"57P01", "57P02", "57P03", "57P04", "57P05", "25P03"}


def translate(error: psycopg.Error, *, stage: str) -> SibylError:
    """The error that a caller of the store sees; `stage` is what was being done."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return DeadlineExceeded(
            f"PostgreSQL ended {stage} at its statement timeout; allow more in `providers.vector_store.<name>.timeout`",
            details={"stage": stage},
        )
    details = {"stage": stage}
    reason = _ADDRESS.sub("", cause(error))
    if is_connection_loss(error):
        return ConnectionLost(
            f"the connection to the database was lost during {stage}: {reason}; {ADVICE}",
            details=details,
            retry_after=RETRY_AFTER,
        )
    if isinstance(error, psycopg.errors.DiskFull):
        return DatabaseUnavailable(
            f"the volume of the database is full, {stage} failed: {reason}; enlarge the volume, or remove what is no "
            "longer needed",
            details={**details, "sqlstate": error.sqlstate},
            retry_after=RETRY_AFTER,
        )
    # Of class 54, a limit of the program: the same statement never succeeds.
    transient = isinstance(error, psycopg.OperationalError) and not str(error.sqlstate).startswith("54")
    return DatabaseUnavailable(
        f"the database refuses {stage}: {reason} (SQLSTATE {error.sqlstate})",
        details={**details, "sqlstate": error.sqlstate},
        retry_after=RETRY_AFTER if transient else None,
    )


@contextlib.contextmanager
def translated(stage: str) -> Iterator[None]:
    """Around work on a connection outside the pool: what fails is the caller's error."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, stage=stage) from error


def cause(error: BaseException) -> str:
    """The server's or libpq's own words on one line."""
    diagnosis = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = diagnosis or str(error) or type(error).__name__
    return " ".join(text.split())
