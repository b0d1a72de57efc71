"""HTML and PDF as documents: ids, titles, encodings, and what is left out by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sibyl_runtime.extraction import Extractor
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import LoadedDocument, Skipped
from sibyl_runtime.techniques.documents.extracted import read_html, read_pdf
from tests.support.pdf import bomb, pdf


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor() as extractor:
        yield extractor


def written(folder: Path, name: str, content: bytes) -> CorpusFile:
    (folder / name).write_bytes(content)
    return CorpusFile(folder / name, name)


def html(extractor: Extractor, file: CorpusFile, encoding: str = "utf-8") -> LoadedDocument | Skipped:
    return read_html(file, extractor, source="s", encoding=encoding, max_size=100_000)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("<p>café".encode(), "utf-8"),
        ("<p>café".encode("latin-1"), "latin-1"),
        ('<meta charset="iso-8859-1"><p>café'.encode("latin-1"), "utf-8"),
        ("<META http-equiv=Content-Type content='text/html; charset=windows-1252'>café".encode("cp1252"), "utf-8"),
        ("<meta charset=utf-16><p>café".encode(), "latin-1"),
        ('<meta charset="iso-8859-1"><p>café'.encode("utf-16"), "utf-8"),
    ],
)
def test_what_a_page_says_of_its_encoding_counts_for_more_than_the_settings(
    extractor: Extractor, tmp_path: Path, content: bytes, encoding: str
) -> None:
    found = html(extractor, written(tmp_path, "a.html", content), encoding)
    assert isinstance(found, LoadedDocument)
    assert found.document.text == "café"
    assert found.markdown


def test_the_title_of_a_page_is_its_own_or_its_first_heading_or_the_name_of_the_file(
    extractor: Extractor, tmp_path: Path
) -> None:
    titles = []
    for name, content in (
        ("a.html", b"<title> A\n page</title><h1>Heading</h1>text"),
        ("b.html", b"<h1></h1><h2>Heading</h2>text"),
        ("c.html", b"<p>text"),
    ):
        found = html(extractor, written(tmp_path, name, content))
        assert isinstance(found, LoadedDocument)
        titles.append((found.document.id, found.document.title))
    assert titles == [("a.html", "A page"), ("b.html", "Heading"), ("c.html", "c")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<nav>Home</nav><script>1</script>", "it holds no text outside of navigation and scripts"),
        (b"<p>caf\xe9", "not valid utf-8: 0xe9 at byte 6"),
        (b"<meta charset=klingon>text", 'it names an encoding that is not known: "klingon"'),
        (b"<p>" * 40_000, "120,000 bytes, above max_file_size (100,000 bytes)"),
        (b"<p>a\0b", "binary: it holds the character NUL (position 4)"),
        (b"<p>a &#xd800; <title>&#0;</title>", None),
    ],
)
def test_a_page_that_cannot_be_read_is_named(
    extractor: Extractor, tmp_path: Path, content: bytes, reason: str | None
) -> None:
    found = html(extractor, written(tmp_path, "a.html", content))
    assert found == Skipped("a.html", reason, document_id="a.html") if reason else isinstance(found, LoadedDocument)


def test_a_page_of_a_pdf_is_a_document(extractor: Extractor, tmp_path: Path) -> None:
    events = list(
        read_pdf(
            written(tmp_path, "a.pdf", pdf("One", "", "Three", title="Book")), extractor, source="s", max_size=100_000
        )
    )
    documents = [event.document for event in events if isinstance(event, LoadedDocument)]
    assert [(each.id, each.title, each.text, each.metadata) for each in documents] == [
        ("a.pdf#page=1", "Book", "One", {"file": "a.pdf", "page": 1, "pages": 3}),
        ("a.pdf#page=3", "Book", "Three", {"file": "a.pdf", "page": 3, "pages": 3}),
    ]


@pytest.mark.parametrize(
    ("content", "skipped"),
    [
        (b"", Skipped("a.pdf", "empty", may_hide=True)),
        (pdf("", ""), Skipped("a.pdf", "it holds no text; text in pictures, such as scans, is not read")),
        (pdf("x", password="p"), Skipped("a.pdf", "encrypted: it opens with a password only", may_hide=True)),
        (
            pdf(*["many words " * 100] * 200),
            Skipped(
                "a.pdf", "its text is larger than max_file_size (100,000 bytes); the rest is left out", may_hide=True
            ),
        ),
        (
            bomb(50_000_000, before="x"),
            Skipped(
                "a.pdf#page=2",
                "it unpacks to more than 32 MiB, or takes more work than a page of text does",
                document_id="a.pdf#page=2",
            ),
        ),
    ],
)
def test_what_cannot_be_read_of_a_pdf_is_named(
    extractor: Extractor, tmp_path: Path, content: bytes, skipped: Skipped
) -> None:
    events = list(read_pdf(written(tmp_path, "a.pdf", content), extractor, source="s", max_size=100_000))
    assert [event for event in events if isinstance(event, Skipped)] == [skipped]
