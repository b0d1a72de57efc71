"""Records become documents, whatever file they come from: one of their fields is the text, the others say more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.documents.decoding import check_id, check_storable, open_regular
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped, Unreadable
from sibyl_runtime.techniques.documents.metadata import plain_metadata

MOST_BAD = 1_000
"""Records of one file that are named one by one; a file with more is not what it was taken for."""

Record = Mapping[str, Any] | Unreadable


@dataclass(frozen=True)
class Fields:
    """Which keys of a record are its id, its text and its title; all others are metadata."""

    id: str
    text: str
    title: str


def read_records(
    file: CorpusFile,
    records: Callable[[BinaryIO], Iterator[tuple[int, Record]]],
    *,
    source: str,
    fields: Fields,
    max_size: int,
) -> Iterator[Event]:
    """The documents of a file, in order. `records` yields each with the number of its first line, or why it is none.

    A record without an id is named `file:line`. What `records` raises as Unreadable ends the file.
    """
    bad = count = 0
    try:
        with open_regular(file.path, max_size) as opened:
            for number, record in records(opened):
                count += 1
                event = event_of(record, f"{file.name}:{number}", source, fields)
                bad += isinstance(event, Skipped)
                yield event
                if bad > MOST_BAD:
                    raise Unreadable(f"more than {MOST_BAD:,} of its records cannot be read; the others are left out")
    except Unreadable as error:
        yield Skipped(file.name, str(error), may_hide=True)
    except OSError as error:
        yield Skipped(file.name, f"cannot be read: {error.strerror}", may_hide=True)
    else:
        if not count:
            yield Skipped(file.name, "empty")


def event_of(record: Record, place: str, source: str, fields: Fields) -> Event:
    """The document that a record is, or why it is none. `place` names it, and is its id where it has none."""
    document_id = None
    try:
        if isinstance(record, Unreadable):
            raise record
        document_id = _id(record, fields.id, place)
        title = _title(record, fields.title)
        text = _text(record, fields.text)
        others = {key: value for key, value in record.items() if key not in (fields.id, fields.text, fields.title)}
        document = Document(document_id, source, title, text, plain_metadata(others))
    except Unreadable as error:
        return Skipped(place, str(error), document_id, may_hide=document_id is None)
    return LoadedDocument(document, markdown=True, place=place)


def _id(record: Mapping[str, Any], key: str, place: str) -> str:
    value = record.get(key)
    if value is None:
        return place
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Unreadable(f'"{key}" must be text or a whole number, found {kind_of(value)}')
    text = str(value)
    check_id(text)
    return text


def _title(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f'"{key}" must be text, found {kind_of(value)}')
    check_storable(value)
    return " ".join(value.split())


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        found = kind_of(value) if key in record else f"a record without it (keys: {', '.join(sorted(record)[:8])})"
        raise Unreadable(f'"{key}" must be text, found {found}')
    check_storable(value)
    if not value.strip():
        raise Unreadable(f'"{key}" is empty')
    return value


def kind_of(value: Any) -> str:
    """What a value of JSON is, in words."""
    names = {dict: "an object", list: "a list", str: "an empty text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
