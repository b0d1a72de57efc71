"""PDF, page by page, by pypdf. Text that is only a picture stays one: nothing here recognises letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from pypdf import Configuration, PageObject, PdfReader, overwrite_configuration
from pypdf.errors import DependencyError, LimitReachedError

from sibyl_runtime.extraction.part import Part, Refused

MOST_PAGES = 20_000
MOST_BYTES = 32 * 1024 * 1024
"""That one stream of a page may unpack to: a bomb ends here, and a page of text needs a hundredth of it."""

_LIMITS = Configuration(
    array_based_stream_maximum_output_length=MOST_BYTES,
    lzw_maximum_output_length=MOST_BYTES,
    run_length_maximum_output_length=MOST_BYTES,
    zlib_maximum_output_length=MOST_BYTES,
    stream_decoding_work_maximum_length=4 * MOST_BYTES,
    jbig2dec_binary=None,
    disable_legacy_handling=True,
)


def pages(file: BinaryIO) -> Iterator[Part]:
    """The pages that hold text, in order, and those that cannot be read. Raises Refused for the whole file."""
    overwrite_configuration(_LIMITS)
    try:
        reader = PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("encrypted: it opens with a password only")
        count = len(reader.pages)
        title = (reader.metadata and reader.metadata.title) or ""
    except (Refused, MemoryError):
        raise
    except DependencyError as error:
        raise Refused("encrypted: save it without protection to have it read") from error
    except Exception as error:  # pypdf lets any exception out of a broken file
        raise Refused(f"not a PDF that can be read: {_reason(error)}") from error
    if count > MOST_PAGES:
        raise Refused(f"{count:,} pages; at most {MOST_PAGES:,} are read")
    for number in range(count):
        part = _page(reader, number, count, str(title))
        if part.problem or part.text:
            yield part


def _page(reader: PdfReader, number: int, count: int, title: str) -> Part:
    problem = None
    text = ""
    try:
        text = _text(reader.pages[number])
    except MemoryError:
        raise
    except LimitReachedError:
        problem = f"it unpacks to more than {MOST_BYTES // 2**20} MiB, or takes more work than a page of text does"
    except Exception as error:  # noqa: BLE001 - as above; the next page may be sound
        problem = f"the page cannot be read: {_reason(error)}"
    return Part(text, title, number + 1, count, problem)


def _text(page: PageObject) -> str:
    return "\n".join(line.rstrip() for line in page.extract_text().splitlines()).strip()


def _reason(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return first[:200] or type(error).__name__
