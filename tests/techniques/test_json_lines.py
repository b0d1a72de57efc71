"""JSON lines: every good line is a document, every bad one is named with its line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped
from sibyl_runtime.techniques.documents.json_lines import read_json_lines
from sibyl_runtime.techniques.documents.records import Fields

FIELDS = Fields("id", "text", "title")


def read(
    path: Path, content: bytes, *, fields: Fields = FIELDS, encoding: str = "utf-8", most: int = 10_000
) -> list[Event]:
    path = path / "records.jsonl"
    path.write_bytes(content)
    file = CorpusFile(path, "records.jsonl")
    return list(read_json_lines(file, source="s", fields=fields, encoding=encoding, max_size=most))


def test_a_record_is_a_document_and_its_other_fields_are_metadata(tmp_path: Path) -> None:
    (event,) = read(
        tmp_path, b'{"id": 7, "title": "A\\n title", "text": "Body", "lang": "en", "n": {"x": [1, null]}}\n'
    )
    assert isinstance(event, LoadedDocument)
    document = event.document
    assert (document.id, document.source, document.title, document.text) == ("7", "s", "A title", "Body")
    assert document.metadata == {"lang": "en", "n": {"x": [1, None]}}


def test_the_names_of_the_fields_can_be_chosen(tmp_path: Path) -> None:
    (event,) = read(tmp_path, b'{"key": "k", "body": "b", "name": "n", "id": 3}', fields=Fields("key", "body", "name"))
    assert isinstance(event, LoadedDocument)
    assert (event.document.id, event.document.text, event.document.title) == ("k", "b", "n")
    assert event.document.metadata == {"id": 3}


def test_a_record_without_id_or_title_is_named_by_its_line(tmp_path: Path) -> None:
    events = read(tmp_path, b'{"text": "one"}\n\n{"text": "two"}\n')
    assert [(event.document.id, event.document.title) for event in events if isinstance(event, LoadedDocument)] == [
        ("records.jsonl:1", ""),
        ("records.jsonl:3", ""),
    ]


@pytest.mark.parametrize(
    ("line", "reason", "document_id"),
    [
        (b"{nonsense", "not valid JSON: ", None),
        (b"[1]", "must be a JSON object, found a list", None),
        (b'{"id": "a"}', '"text" must be text, found a record without it (keys: id)', "a"),
        (b'{"id": "a", "text": 5}', '"text" must be text, found a number', "a"),
        (b'{"id": "a", "text": "  "}', '"text" is empty', "a"),
        (b'{"id": true, "text": "x"}', '"id" must be text or a whole number, found true or false', None),
        (b'{"id": "", "text": "x"}', '"id" must be text or a whole number, found an empty text', None),
        (b'{"id": "a", "text": "x", "title": []}', '"title" must be text, found a list', "a"),
        (b'{"id": "a", "text": "x\\u0000y"}', "binary: it holds the character NUL (position 1)", "a"),
        (b'{"id": "a", "text": "x", "m": "\\u0000"}', "binary: it holds the character NUL (position 0)", "a"),
        (b'{"id": "a", "text": "\\ud800"}', "not valid JSON: ", None),
        (b'{"id": "a", "text": "\xff"}', "not valid utf-8: 0xff at byte 21", None),
        (b'{"id": "a", "text": "x", "m": NaN}', "not valid JSON: ", None),
        (b'{"id": "' + b"i" * 1001 + b'", "text": "x"}', "its id must have 1 to 1000 bytes, found 1001", None),
        (b"[" * 5000, "not valid JSON: ", None),
    ],
)
def test_a_bad_line_is_skipped_by_its_number_and_the_others_are_read(
    tmp_path: Path, line: bytes, reason: str, document_id: str | None
) -> None:
    events = read(tmp_path, b'{"id": "before", "text": "x"}\n' + line + b'\n{"id": "after", "text": "x"}')
    before, bad, after = events
    assert isinstance(before, LoadedDocument)
    assert isinstance(after, LoadedDocument)
    assert (before.document.id, after.document.id) == ("before", "after")
    assert isinstance(bad, Skipped)
    assert bad.path == "records.jsonl:2"
    assert bad.reason.startswith(reason)
    assert (bad.document_id, bad.may_hide) == (document_id, document_id is None)


def test_a_file_that_is_too_large_may_hide_documents(tmp_path: Path) -> None:
    (event,) = read(tmp_path, b'{"text": "x"}\n' * 20, most=100)
    assert event == Skipped("records.jsonl", "280 bytes, above max_file_size (100 bytes)", may_hide=True)


@pytest.mark.parametrize("content", [b"\n \n", b""])
def test_a_file_without_a_record_is_empty(tmp_path: Path, content: bytes) -> None:
    (event,) = read(tmp_path, content)
    assert isinstance(event, Skipped)
    assert event.reason == "empty"


@pytest.mark.parametrize(("encoding", "codec"), [("utf-8", "utf-8-sig"), ("utf-16", "utf-16"), ("latin-1", "latin-1")])
def test_other_encodings_and_a_byte_order_mark_are_read(tmp_path: Path, encoding: str, codec: str) -> None:
    events = read(tmp_path, '{"id": "é", "text": "één"}\n{"id": "b", "text": "x"}'.encode(codec), encoding=encoding)
    assert [event.document.id for event in events if isinstance(event, LoadedDocument)] == ["é", "b"]
