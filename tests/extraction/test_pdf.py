"""PDF, page by page; a page that cannot be read costs that page."""

from __future__ import annotations

import io
import re

import pytest

from sibyl_runtime.extraction import pdf as reading
from sibyl_runtime.extraction.part import Part, Refused
from sibyl_runtime.extraction.pdf import pages
from tests.support.pdf import bomb, pdf


def read(file: bytes) -> list[Part]:
    return list(pages(io.BytesIO(file)))


def test_every_page_with_text_is_a_part() -> None:
    assert read(pdf("First page\nof two lines", "", "Third", title="A title")) == [
        Part("First page\nof two lines", "A title", 1, 3),
        Part("Third", "A title", 3, 3),
    ]


def test_protection_without_a_password_is_no_obstacle() -> None:
    assert [part.text for part in read(pdf("Text", password=""))] == ["Text"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (pdf("Text", password="secret"), "encrypted: it opens with a password only"),
        (b"no PDF", "not a PDF that can be read: "),
        (pdf("Text")[:300], "not a PDF that can be read: "),
        (b"%PDF-1.7\n1 0 obj\n" + b"[" * 100_000 + b"\ntrailer<</Root 1 0 R>>", "not a PDF that can be read: "),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(file: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        read(file)


def test_a_page_that_unpacks_to_too_much_is_named_and_the_others_are_read() -> None:
    file = bomb(50_000_000, before="Sound")
    assert len(file) < 100_000
    sound, spoiled = read(file)
    assert sound.text == "Sound"
    assert (spoiled.page, spoiled.text) == (2, "")
    assert spoiled.problem == "it unpacks to more than 32 MiB, or takes more work than a page of text does"


def test_more_pages_than_any_book_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_PAGES", 2)
    with pytest.raises(Refused, match="3 pages; at most 2 are read"):
        read(pdf("a", "b", "c"))
