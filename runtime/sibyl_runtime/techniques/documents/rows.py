"""The rows of a query as documents, read in one read-only transaction through a cursor of the server.

No message holds the DSN, which may carry a password.
"""

from __future__ import annotations

import datetime
import ipaddress
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, IngestError, SibylError
from sibyl_runtime.pipeline.ledger import IngestLedger
from sibyl_runtime.store.connection import connect_options
from sibyl_runtime.store.failures import RETRY_AFTER, Endpoint, cause, endpoint_of, is_connection_loss
from sibyl_runtime.techniques.documents.decoding import LONGEST_LINE
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped
from sibyl_runtime.techniques.documents.moments import read_odd_moments
from sibyl_runtime.techniques.documents.records import MOST_BAD, Fields, event_of
from sibyl_runtime.workspace import LoadDocumentsConfig

Row = Mapping[str, Any]

_STEP = "data.load_documents"
_MOST_DIGITS = 18
"""Whole numbers of so many digits fit into 64 bits."""


async def read_rows(config: LoadDocumentsConfig) -> AsyncGenerator[list[Row], None]:
    """The rows of `config.query`, `chunk_size` at a time, each by the names of its columns.

    The transaction stays open until the generator is closed. Raises IngestError for a query that is refused or lacks a
    column, DatabaseUnavailable, and DeadlineExceeded when rows do not come within `query_timeout`.
    """
    dsn, query = config.dsn or "", config.query or ""
    endpoint = _endpoint(dsn)
    try:
        async with await AsyncConnection.connect(dsn, **connect_options(dsn)) as connection:
            read_odd_moments(connection)
            await connection.set_read_only(True)
            await _prepare(connection, config)
            async with connection.cursor(name="sibyl_documents") as cursor:
                await cursor.execute(query.encode())
                columns = _columns([column.name for column in cursor.description or ()], config)
                while rows := await cursor.fetchmany(config.chunk_size):
                    yield [dict(zip(columns, row, strict=True)) for row in rows]
    except psycopg.Error as error:
        raise _explained(error, endpoint, config.query_timeout) from error


async def _prepare(connection: AsyncConnection[Any], config: LoadDocumentsConfig) -> None:
    settings = {
        "statement_timeout": round(config.query_timeout * 1000),
        # Nothing is asked of the database while documents are embedded.
        "idle_in_transaction_session_timeout": 0,
        # What a moment looks like must not depend on the server, or its documents would change with it.
        "timezone": "'UTC'",
        "datestyle": "'ISO'",
        "intervalstyle": "'postgres'",
    }
    await connection.execute(b"; ".join(f"SET LOCAL {name} = {value}".encode() for name, value in settings.items()))


def _endpoint(dsn: str) -> Endpoint:
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # libpq quotes the DSN in full
        raise IngestError(
            f"`dsn` of {_STEP} is not a PostgreSQL connection string (its text is not shown, it may hold a password); "
            "expected postgresql://user:password@host:5432/database"
        ) from None
    return endpoint_of(dsn)


def _columns(columns: Sequence[str], config: LoadDocumentsConfig) -> Sequence[str]:
    """The names of the columns. Raises IngestError when one that is needed is missing, or two are called the same."""
    needed = ["id_field", "text_field", *(["title_field"] if "title_field" in config.model_fields_set else [])]
    for field in needed:
        name = getattr(config, field)
        if name not in columns:
            there = ", ".join(f'"{column}"' for column in columns) or "none"
            raise IngestError(
                f'the query of {_STEP} has no column "{name}" ({field}); it has {there}. Name one of them in {field}, '
                f'or select it AS "{name}"'
            )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise IngestError(f'the query of {_STEP} has several columns "{twice[0]}"; give each a name of its own by AS')
    return columns


def _explained(error: psycopg.Error, endpoint: Endpoint, seconds: float) -> SibylError:
    details = {"stage": "load", "database": endpoint.database, "host": endpoint.host}
    if isinstance(error, psycopg.errors.QueryCanceled):
        return DeadlineExceeded(
            f"{endpoint} did not bring the next rows of the query of {_STEP} within {seconds:g} s; make the query "
            "cheaper, or raise query_timeout",
            details=details,
        )
    if is_connection_loss(error):
        return DatabaseUnavailable(
            f"{_STEP} cannot read from {endpoint}: {cause(error)}; check `dsn`, and that the database is up",
            details=details,
            retry_after=RETRY_AFTER,
        )
    if error.sqlstate is None:
        return IngestError(
            f"the query of {_STEP} brings a value that cannot be read: {cause(error)}; cast its column to text in "
            "`query`",
            details=details,
        )
    advice = _ADVICE.get(error.sqlstate or "", "correct `query`")
    return IngestError(
        f"{endpoint} refuses the query of {_STEP}: {cause(error)} (SQLSTATE {error.sqlstate}); "
        f"{advice.format(user=endpoint.user)}",
        details={**details, "sqlstate": error.sqlstate},
    )


_ADVICE = {
    "42501": "grant {user} what it needs to read, or give another user in `dsn`",
    "25006": "`query` may only read",
    "42601": "`query` must be one SELECT",
}


class RowEvents:
    """Turns rows into documents, and knows how many there were."""

    def __init__(self, config: LoadDocumentsConfig, ledger: IngestLedger) -> None:
        self._fields = Fields(config.id_field, config.text_field, config.title_field)
        self._ledger = ledger
        self._count = self._bad = 0

    def of(self, rows: Sequence[Row]) -> Iterator[Event]:
        """The documents of `rows`, and what had to be left out. Raises IngestError for an id that was there before.

        Rows that are left out are named up to MOST_BAD; the others are counted.
        """
        for row in rows:
            self._count += 1
            event = self._event(row)
            if isinstance(event, LoadedDocument):
                self._check_new(event.document.id)
            elif event.document_id is not None:
                self._check_new(event.document_id)
            if not isinstance(event, Skipped) or self._named(event):
                yield event

    def rest(self) -> Iterator[Event]:
        """A last line of the report, where not every row that was left out has one of its own."""
        if self._bad > MOST_BAD:
            yield Skipped("query", f"{self._bad - MOST_BAD:,} more rows were left out for such reasons")

    def _event(self, row: Row) -> Event:
        place = f"query:{self._count}"
        record = {name: _plain(value) for name, value in row.items() if value is not None or name == self._fields.text}
        if self._fields.id not in record:
            return Skipped(place, f'"{self._fields.id}" is null; a document needs an id')
        text = record[self._fields.text]
        too_long = isinstance(text, str) and len(text) > LONGEST_LINE
        if too_long:
            record[self._fields.text] = ""  # what is left tells its id
        event = event_of(record, place, self._ledger.source, self._fields)
        if too_long and isinstance(event, Skipped):
            return replace(event, reason=f"its text is longer than {LONGEST_LINE:,} characters")
        return event

    def _check_new(self, document_id: str) -> None:
        if document_id in self._ledger.present:
            raise IngestError(
                f'the query of {_STEP} has several rows with the id "{document_id}" ("{self._fields.id}"); ids must be '
                "unique: name another column in id_field, or let the query join its rows"
            )

    def _named(self, event: Skipped) -> bool:
        self._bad += 1
        if self._bad <= MOST_BAD:
            return True
        self._ledger.unknown_ids += event.may_hide
        if event.document_id is not None:
            self._ledger.present[event.document_id] = None
        return False


_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: datetime.timedelta.total_seconds,
    uuid.UUID: str,
    **dict.fromkeys(
        (
            ipaddress.IPv4Address,
            ipaddress.IPv6Address,
            ipaddress.IPv4Interface,
            ipaddress.IPv6Interface,
            ipaddress.IPv4Network,
            ipaddress.IPv6Network,
        ),
        str,
    ),
}


def _plain(value: Any) -> Any:
    """A value of a column as metadata may hold it: numbers stay numbers, so that filters compare them as such."""
    if isinstance(value, Decimal):
        whole = value.is_finite() and value.adjusted() < _MOST_DIGITS and value == value.to_integral_value()
        return int(value) if whole else float(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _PLAIN[type(value)](value) if type(value) in _PLAIN else value
