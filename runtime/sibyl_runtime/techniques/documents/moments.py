"""Dates and times of PostgreSQL that Python has no value for (infinity, BC, years above 9999), read as their text."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.datetime import (
    DateLoader,
    IntervalLoader,
    TimeLoader,
    TimestampLoader,
    TimestamptzLoader,
    TimetzLoader,
)

_ENDLESS = (b"infinity", b"-infinity")


def _or_text(of: type[Loader]) -> type[Loader]:
    class OrText(of):  # type: ignore[valid-type, misc]  # the base is one of six that do the same
        def load(self, data: Buffer) -> Any:
            if bytes(data) in _ENDLESS:  # of an interval, psycopg reads the word as no time at all
                return bytes(data).decode()
            try:
                return super().load(data)
            except psycopg.DataError:
                return bytes(data).decode()

    return OrText


_LOADERS = {
    "date": _or_text(DateLoader),
    "time": _or_text(TimeLoader),
    "timetz": _or_text(TimetzLoader),
    "timestamp": _or_text(TimestampLoader),
    "timestamptz": _or_text(TimestamptzLoader),
    "interval": _or_text(IntervalLoader),
}


def read_odd_moments(connection: AsyncConnection[Any]) -> None:
    """From now on this connection reads them so; all others as before."""
    for name, loader in _LOADERS.items():
        connection.adapters.register_loader(name, loader)
