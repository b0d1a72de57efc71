"""JSON lines: one record a line, each a document. A bad line is left out by its number; the others are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from sibyl_runtime.techniques.documents.decoding import lines_of
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import Event, Unreadable
from sibyl_runtime.techniques.documents.records import Fields, Record, kind_of, read_records


def read_json_lines(file: CorpusFile, *, source: str, fields: Fields, encoding: str, max_size: int) -> Iterator[Event]:
    """The documents of a file, in order. A record without an id is named `file:line`."""

    def records(opened: BinaryIO) -> Iterator[tuple[int, Record]]:
        for number, line in enumerate(lines_of(opened, encoding), start=1):
            if isinstance(line, Unreadable):
                yield number, line
            elif line.strip():
                yield number, _parsed(line)

    return read_records(file, records, source=source, fields=fields, max_size=max_size)


def _parsed(line: str) -> dict[str, Any] | Unreadable:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Unreadable(f"not valid JSON: {error.msg} (column {error.colno})")
    if not isinstance(record, dict):
        return Unreadable(f"must be a JSON object, found {kind_of(record)}")
    return record
