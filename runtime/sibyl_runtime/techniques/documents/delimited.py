"""CSV: the first row names the columns, every other row is a document. What separates columns is found out.

It is the one of comma, semicolon, tab and bar by which the first row has the columns that the settings name: a file is
read as what it must be to make sense here, not as what it might be by the look of its first lines.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from sibyl_runtime.techniques.documents.decoding import LONGEST_LINE, lines_of
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import Event, Unreadable
from sibyl_runtime.techniques.documents.records import Fields, Record, read_records

DELIMITERS = (",", ";", "\t", "|")
_REST = "the rest of the file is left out"


def read_delimited(file: CorpusFile, *, source: str, fields: Fields, encoding: str, max_size: int) -> Iterator[Event]:
    """The documents of a file, in order. A row without an id is named `file:line`; empty cells are no metadata."""

    def records(opened: BinaryIO) -> Iterator[tuple[int, Record]]:
        return _rows(_Lines(lines_of(opened, encoding)), fields)

    return read_records(file, records, source=source, fields=fields, max_size=max_size)


class _Lines:
    """Hands lines to the parser and knows where it is. A quote that is never closed cannot take in the whole file."""

    def __init__(self, lines: Iterator[str | Unreadable]) -> None:
        self._lines = lines
        self.number = 0
        self.taken = 0
        """Characters since the row began."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if isinstance(line, Unreadable):
            raise Unreadable(f"line {self.number:,}: {line}; {_REST}")
        self.taken += len(line)
        if self.taken > LONGEST_LINE:
            raise Unreadable(f"line {self.number:,}: a row longer than {LONGEST_LINE:,} characters; {_REST}")
        return line


def _rows(lines: _Lines, fields: Fields) -> Iterator[tuple[int, Record]]:
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return
    columns, delimiter = _header(first, fields)
    # The parser's own limit belongs to the whole process, and is meant for what _Lines bounds here.
    csv.field_size_limit(LONGEST_LINE)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start, lines.taken = lines.number + 1, 0
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield start, Unreadable(f"not valid CSV: {error}")
            continue
        if any(cell.strip() for cell in cells):
            yield start, _record(columns, cells)


def _header(line: str, fields: Fields) -> tuple[list[str], str]:
    """The names of the columns, and the delimiter. Raises Unreadable when no delimiter brings a column of text."""
    ways = [(_cells(line, delimiter), delimiter) for delimiter in DELIMITERS]
    wanted = (fields.id, fields.text, fields.title)
    columns, delimiter = max(ways, key=lambda way: (sum(name in way[0] for name in wanted), len(way[0])))
    if fields.text not in columns:
        if not columns:
            raise Unreadable("its first line is no row of cells; end lines with LF or CR LF, and close every quote")
        found = ", ".join(f'"{name}"' for name in columns[:8])
        raise Unreadable(f'no column is called "{fields.text}"; found {found}; name it with text_field')
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise Unreadable(f'more than one column is called "{twice[0]}"')
    return columns, delimiter


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error:
        return []


def _record(columns: list[str], cells: list[str]) -> Record:
    if len(cells) != len(columns):
        return Unreadable(f"it has {len(cells)} columns, the first row {len(columns)}")
    return {name: cell for name, cell in zip(columns, cells, strict=True) if name and cell}
