"""JSON lines: one record a line, each a document. A bad line is left out by its number; the others are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.documents.decoding import check_id, check_storable, decoded, lines_of, open_regular
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped, Unreadable
from sibyl_runtime.techniques.documents.metadata import plain_metadata


@dataclass(frozen=True)
class Fields:
    """Which keys of a record are its id, its text and its title; all others are metadata."""

    id: str
    text: str
    title: str


def read_json_lines(file: CorpusFile, *, source: str, fields: Fields, encoding: str, max_size: int) -> Iterator[Event]:
    """The documents of a file, in order. A record without an id is named `file:line`."""
    count = 0
    try:
        with open_regular(file.path, max_size) as opened:
            for number, line in enumerate(lines_of(opened, encoding), start=1):
                if line.strip():
                    count += 1
                    yield _record(line, f"{file.name}:{number}", source=source, fields=fields, encoding=encoding)
    except Unreadable as error:
        yield Skipped(file.name, str(error), may_hide=True)
    except OSError as error:
        yield Skipped(file.name, f"cannot be read: {error.strerror}", may_hide=True)
    else:
        if not count:
            yield Skipped(file.name, "empty")


def _record(line: bytes | str, place: str, *, source: str, fields: Fields, encoding: str) -> Event:
    document_id = None
    try:
        record = _parsed(line, encoding)
        document_id = _id(record, fields.id, place)
        title = _title(record, fields.title)
        text = _text(record, fields.text)
        others = {key: value for key, value in record.items() if key not in (fields.id, fields.text, fields.title)}
        document = Document(document_id, source, title, text, plain_metadata(others))
    except Unreadable as error:
        return Skipped(place, str(error), document_id, may_hide=document_id is None)
    return LoadedDocument(document, markdown=True)


def _parsed(line: bytes | str, encoding: str) -> dict[str, Any]:
    text = decoded(line, encoding) if isinstance(line, bytes) else line
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"not valid JSON: {error.msg} (column {error.colno})") from error
    if not isinstance(record, dict):
        raise Unreadable(f"must be a JSON object, found {_kind(record)}")
    return record


def _id(record: dict[str, Any], key: str, place: str) -> str:
    value = record.get(key)
    if value is None:
        return place
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Unreadable(f'"{key}" must be text or a whole number, found {_kind(value)}')
    text = str(value)
    check_id(text)
    return text


def _title(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f'"{key}" must be text, found {_kind(value)}')
    check_storable(value)
    return " ".join(value.split())


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        found = _kind(value) if key in record else f"a record without it (keys: {', '.join(sorted(record)[:8])})"
        raise Unreadable(f'"{key}" must be text, found {found}')
    check_storable(value)
    if not value.strip():
        raise Unreadable(f'"{key}" is empty')
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "an empty text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
