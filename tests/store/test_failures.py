from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, SibylError, StartupError
from sibyl_runtime.store.failures import ConnectionLost, Endpoint, endpoint_of, is_connection_loss, translate

ENDPOINT = Endpoint("db.example", "5433", "sibyl", "app")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://app:pw@db.example:5433/sibyl", ENDPOINT),
        ("postgres://app@db.example/sibyl", Endpoint("db.example", "5432", "sibyl", "app")),
        ("host=db.example port=5433 dbname=sibyl user=app password=pw", ENDPOINT),
        ("postgresql://app@/sibyl?host=/run/pg", Endpoint("/run/pg", "5432", "sibyl", "app")),
        ("postgresql://app@a,b:6000/sibyl", Endpoint("a,b", ",6000", "sibyl", "app")),
        ("postgresql://app@db.example", Endpoint("db.example", "5432", "app", "app")),
        ("", Endpoint("localhost", "5432", "(the system's user)", "(the system's user)")),
    ],
)
def test_an_endpoint_is_read_from_any_form_of_dsn(dsn: str, expected: Endpoint) -> None:
    assert endpoint_of(dsn) == expected


def test_the_environment_fills_what_the_dsn_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert endpoint_of("dbname=sibyl user=app").host == "elsewhere"


@pytest.mark.parametrize("dsn", ["db.example:s3cret", "postgresql://app:s3cret@[::1", "host=a s3cret"])
def test_a_malformed_dsn_is_refused_without_showing_it(dsn: str) -> None:
    with pytest.raises(StartupError, match=r"providers\.vector_store\.<name>\.dsn") as refused:
        endpoint_of(dsn)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (errors.AdminShutdown("terminating"), True),
        (errors.CannotConnectNow("starting up"), True),
        (errors.ConnectionFailure("lost"), True),
        (errors.QueryCanceled("statement timeout"), False),
        (errors.DiskFull("no space"), False),
        (errors.UndefinedTable("no such table"), False),
    ],
)
def test_a_lost_connection_is_told_from_a_refusal(error: psycopg.Error, lost: bool) -> None:
    assert is_connection_loss(error) is lost


@pytest.mark.parametrize(
    ("error", "kind", "retry_after", "says"),
    [
        (errors.QueryCanceled("timeout"), DeadlineExceeded, None, "statement timeout"),
        (psycopg.OperationalError("gone\n away"), ConnectionLost, 1.0, "lost during search: gone away"),
        (
            psycopg.OperationalError('connection to server at "10.0.0.7", port 5433 failed: Connection refused'),
            ConnectionLost,
            1.0,
            "lost during search: Connection refused; answers return",
        ),
        (errors.TooManyConnections("too many"), DatabaseUnavailable, 1.0, "refuses search: too many"),
        (errors.DeadlockDetected("deadlock"), DatabaseUnavailable, 1.0, "SQLSTATE 40P01"),
        (errors.UndefinedTable("no table"), DatabaseUnavailable, None, "SQLSTATE 42P01"),
    ],
)
def test_every_failure_has_its_meaning(
    error: psycopg.Error, kind: type[SibylError], retry_after: float | None, says: str
) -> None:
    translated = translate(error, stage="search")
    assert type(translated) is kind
    assert translated.retry_after == retry_after
    assert says in translated.message
    assert "10.0.0.7" not in translated.message
    assert translated.details["stage"] == "search"
