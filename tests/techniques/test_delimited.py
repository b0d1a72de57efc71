"""CSV: every good row is a document; what is not as the first row says is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sibyl_runtime.techniques.documents import delimited
from sibyl_runtime.techniques.documents.delimited import read_delimited
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped
from sibyl_runtime.techniques.documents.records import Fields

FIELDS = Fields("id", "text", "title")


def read(folder: Path, content: str | bytes, *, fields: Fields = FIELDS, encoding: str = "utf-8") -> list[Event]:
    path = folder / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = CorpusFile(path, "rows.csv")
    return list(read_delimited(file, source="s", fields=fields, encoding=encoding, max_size=1_000_000))


def documents(events: list[Event]) -> list[tuple[str, str, str, dict[str, object]]]:
    loaded = [event.document for event in events if isinstance(event, LoadedDocument)]
    return [(each.id, each.title, each.text, dict(each.metadata)) for each in loaded]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_separates_columns_is_found_out(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = [
        ["id", "title", "text", "a,b;c|d" if delimiter == "\t" else "lang"],
        ["7", "Seven", '"A text, with; ""every"" | sign\nin two lines"', "en"],
        ["8", "", "Short", ""],
    ]
    events = read(tmp_path, end.join(delimiter.join(row) for row in rows) + end)
    assert documents(events) == [
        ("7", "Seven", 'A text, with; "every" | sign\nin two lines', {rows[0][3]: "en"}),
        ("8", "", "Short", {}),
    ]


def test_one_column_is_enough_and_rows_without_id_are_named_by_their_first_line(tmp_path: Path) -> None:
    assert [found[0] for found in documents(read(tmp_path, '\ntext\n"one\ntwo"\n\nthree\n'))] == [
        "rows.csv:3",
        "rows.csv:6",
    ]


def test_the_names_of_the_columns_can_be_chosen(tmp_path: Path) -> None:
    found = read(tmp_path, "key;body;name;text\nk;b;n;t\n", fields=Fields("key", "body", "name"))
    assert documents(found) == [("k", "n", "b", {"text": "t"})]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("text\ncafé\n".encode("latin-1"), "latin-1"),
        ("text\ncafé\n".encode("utf-8-sig"), "utf-8"),
        ("text\ncafé\n".encode("utf-16"), "utf-8"),
        ("text\ncafé\n".encode("utf-16-le"), "utf-16-le"),
    ],
)
def test_encodings_and_byte_order_marks_are_read(tmp_path: Path, content: bytes, encoding: str) -> None:
    assert [found[2] for found in documents(read(tmp_path, content, encoding=encoding))] == ["café"]


@pytest.mark.parametrize(
    ("row", "reason", "document_id"),
    [
        ("b,text,extra", "it has 3 columns, the first row 2", None),
        ("b", "it has 1 columns, the first row 2", None),
        ("b,", '"text" must be text, found a record without it (keys: id)', "b"),
        ("b,  ", '"text" is empty', "b"),
        ('b,"te"xt', "not valid CSV: ", None),
        ("b,te\0xt", "line 3: binary: it holds the character NUL", None),
    ],
)
def test_a_bad_row_is_named_and_hides_only_itself(
    tmp_path: Path, row: str, reason: str, document_id: str | None
) -> None:
    events = read(tmp_path, f"id,text\na,before\n{row}\nc,after\n")
    assert [found[0] for found in documents(events)] == (["a"] if "line 3" in reason else ["a", "c"])
    (bad,) = [event for event in events if isinstance(event, Skipped)]
    assert bad.reason.startswith(reason)
    assert (bad.document_id, bad.may_hide) == (document_id, document_id is None)
    assert bad.path == ("rows.csv" if "line 3" in reason else "rows.csv:3")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,body\n1,x\n", 'no column is called "text"; found "id", "body"; name it with text_field'),
        ("text,lang,lang\nx,y,z\n", 'more than one column is called "lang"'),
        (b"text\n\xff\n", "line 2: not valid utf-8: 0xff at byte 0; the rest of the file is left out"),
        ("\n\n", "empty"),
        (
            "text,lang\rx,y\r",
            "its first line is no row of cells; end lines with LF or CR LF, and close every quote",
        ),
    ],
)
def test_a_file_that_makes_no_sense_is_left_out_whole(tmp_path: Path, content: str | bytes, reason: str) -> None:
    (event,) = read(tmp_path, content)
    assert event == Skipped("rows.csv", reason, may_hide=reason != "empty")


def test_a_quote_that_is_never_closed_takes_in_no_more_than_a_row_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "LONGEST_LINE", 100)
    events = read(tmp_path, 'id,text\na,sound\nb,"open\n' + "c,text\n" * 50)
    assert [found[0] for found in documents(events)] == ["a"]
    assert isinstance(events[-1], Skipped)
    assert events[-1].reason == "line 17: a row longer than 100 characters; the rest of the file is left out"
    assert events[-1].may_hide


def test_a_quote_that_is_open_at_the_end_is_no_document(tmp_path: Path) -> None:
    (event,) = read(tmp_path, 'id,text\nb,"open\nand on\n')
    assert event == Skipped("rows.csv:2", "not valid CSV: unexpected end of data", may_hide=True)
