"""HTML and PDF: text that has to be taken out of a format, by a process with limits. A page of a PDF is a document."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from sibyl_runtime.extraction import Extractor, Part, Refused
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.documents.decoding import (
    check_id,
    check_storable,
    decoded,
    marked_encoding,
    open_regular,
)
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped, Unreadable
from sibyl_runtime.techniques.documents.markdown import first_heading

_SEARCHED = 4096
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


def read_html(file: CorpusFile, extractor: Extractor, *, source: str, encoding: str, max_size: int) -> Event:
    """The document of a page. Its own word on its encoding counts for more than the settings."""
    try:
        check_id(file.name)
        raw = _html(file, encoding, max_size).encode()
        (part,) = extractor.parts("html", io.BytesIO(raw), len(raw))
        if not part.text:
            raise Unreadable("it holds no text outside of navigation and scripts")
        document = _document(file.name, source, part, first_heading(part.text) or PurePosixPath(file.name).stem)
    except (Unreadable, Refused) as error:
        return Skipped(file.name, str(error), document_id=file.name)
    return LoadedDocument(document, markdown=True)


def _html(file: CorpusFile, encoding: str, max_size: int) -> str:
    with open_regular(file.path, max_size) as opened:
        try:
            marked = marked_encoding(opened, "")
            raw = opened.read(max_size)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror}") from error
    return decoded(raw, marked or _declared(raw[:_SEARCHED]) or encoding)


def _declared(head: bytes) -> str | None:
    found = _CHARSET.search(head)
    if found is None:
        return None
    name = found[1].decode("ascii")
    try:
        known = codecs.lookup(name).name
        "".encode(known)
    except LookupError as error:
        raise Unreadable(f'it names an encoding that is not known: "{name}"') from error
    # A declaration that can be read byte by byte is not in UTF-16, whatever it says.
    return "utf-8" if known.startswith(("utf-16", "utf-32")) else known


def read_pdf(file: CorpusFile, extractor: Extractor, *, source: str, max_size: int) -> Iterator[Event]:
    """A document for each page with text, named `file#page=n`."""
    found = size = 0
    try:
        with open_regular(file.path, max_size) as opened:
            length = opened.seek(0, io.SEEK_END)
            opened.seek(0)
            for part in extractor.parts("pdf", opened, length):
                found += 1
                size += len(part.text.encode(errors="replace"))
                if size > max_size:
                    raise Unreadable(
                        f"its text is larger than max_file_size ({max_size:,} bytes); the rest is left out"
                    )
                yield _page(file, part, source)
    except (Unreadable, Refused) as error:
        yield Skipped(file.name, str(error), may_hide=True)
    except OSError as error:
        yield Skipped(file.name, f"cannot be read: {error.strerror}", may_hide=True)
    else:
        if not found:
            yield Skipped(file.name, "it holds no text; text in pictures, such as scans, is not read")


def _page(file: CorpusFile, part: Part, source: str) -> Event:
    name = f"{file.name}#page={part.page}"
    try:
        check_id(name)
        if part.problem:
            raise Unreadable(part.problem)
        metadata = {"file": file.name, "page": part.page, "pages": part.pages}
        return LoadedDocument(_document(name, source, part, PurePosixPath(file.name).stem, metadata), markdown=False)
    except Unreadable as error:
        return Skipped(name, str(error), document_id=name)


def _document(
    document_id: str, source: str, part: Part, name: str, metadata: dict[str, str | int | None] | None = None
) -> Document:
    title = " ".join(part.title.split()) or name
    check_storable(title)
    check_storable(part.text)
    return Document(document_id, source, title, part.text, dict(metadata or {}))
