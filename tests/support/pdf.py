"""PDF files for tests, written with the library that reads them, and spoiled by hand where that is the point."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject, StreamObject


def pdf(*pages: str, title: str = "", password: str | None = None) -> bytes:
    """A file with a page for each text, its lines one below the other; an empty text is an empty page."""
    return _written([_shown(page) for page in pages], title=title, password=password)


def bomb(size: int, *, before: str) -> bytes:
    """A page of text, then a page whose content is small as it is stored and `size` bytes when it is unpacked."""
    return _written([_shown(before), b"BT ET " * (size // 6)])


def _shown(text: str) -> bytes:
    lines = "".join(f"({line}) Tj T* " for line in text.splitlines())
    return f"BT /F1 12 Tf 14 TL 72 720 Td {lines}ET".encode("latin-1") if text else b""


def _written(contents: Sequence[bytes], *, title: str = "", password: str | None = None) -> bytes:
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for content in contents:
        page = writer.add_blank_page(612, 792)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream: StreamObject = DecodedStreamObject()
        stream.set_data(content)
        page[NameObject("/Contents")] = writer._add_object(stream.flate_encode())
    if title:
        writer.add_metadata({"/Title": title})
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()
