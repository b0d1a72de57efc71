"""The reading process: one for many files, and no file can take more than its share or outlive its reader."""

from __future__ import annotations

import io
from collections.abc import Iterator

import psutil
import pytest

from sibyl_runtime.extraction import Extractor, Kind, Part, Refused
from tests.support.pdf import pdf

SLOW = b"<!--" * 500_000
"""Comments that never end: the parser looks for the end of each of them anew."""


def read(extractor: Extractor, kind: Kind, content: bytes) -> list[Part]:
    return list(extractor.parts(kind, io.BytesIO(content), len(content)))


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "sibyl_runtime.extraction" in child.cmdline()]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert children() == []


def test_no_process_is_started_before_there_is_something_to_read() -> None:
    with Extractor():
        assert children() == []


def test_one_process_reads_all_files() -> None:
    with Extractor() as extractor:
        assert read(extractor, "html", "<title>T</title><p>é".encode()) == [Part("é", "T")]
        (first,) = children()
        assert read(extractor, "pdf", pdf("One", "Two")) == [Part("One", "", 1, 2), Part("Two", "", 2, 2)]
        with pytest.raises(Refused, match="not a PDF that can be read"):
            read(extractor, "pdf", b"nonsense")
        assert read(extractor, "pdf", pdf("Three"))[0].text == "Three"
        assert children() == [first]


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_is_read() -> None:
    with Extractor(seconds={"html": 1, "pdf": 300}) as extractor:
        with pytest.raises(Refused, match="it takes more than 1 seconds to read"):
            read(extractor, "html", SLOW)
        assert read(extractor, "html", b"<p>text")[0].text == "text"


def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_one_is_read() -> None:
    with Extractor(memory=200 * 1024 * 1024) as extractor:
        with pytest.raises(Refused, match="it takes more than 200 MiB of memory to read"):
            read(extractor, "html", b"<p>x" * 2_000_000)
        assert read(extractor, "html", b"<p>text")[0].text == "text"


def test_a_failing_of_the_parser_is_a_file_left_out() -> None:
    with Extractor() as extractor:
        with pytest.raises(Refused, match="it cannot be read: "):
            read(extractor, "html", b"\xff")
        assert read(extractor, "html", b"<p>text")[0].text == "text"


def test_parts_that_nobody_waited_for_are_not_taken_for_those_of_the_next_file() -> None:
    with Extractor() as extractor:
        file = pdf(*(f"Page {number}" for number in range(50)))
        parts = extractor.parts("pdf", io.BytesIO(file), len(file))
        assert next(parts).text == "Page 0"
        parts.close()  # type: ignore[attr-defined]
        assert read(extractor, "html", b"<p>text")[0].text == "text"


def test_a_process_that_was_killed_costs_one_file() -> None:
    with Extractor() as extractor:
        read(extractor, "html", b"<p>text")
        (child,) = children()
        child.kill()
        with pytest.raises(Refused, match="the process that read it ended without a word"):
            read(extractor, "html", b"<p>text")
        assert read(extractor, "html", b"<p>text")[0].text == "text"


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    with Extractor() as extractor:
        with pytest.raises(Refused, match="it became shorter while it was read"):
            list(extractor.parts("html", io.BytesIO(b"<p>"), 100))
        assert read(extractor, "html", b"<p>text")[0].text == "text"
