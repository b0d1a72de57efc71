"""Reads files and refuses, with the reason, what cannot become text in PostgreSQL."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sibyl_runtime.errors import IngestError
from sibyl_runtime.techniques.documents.events import Unreadable

BOM = "\ufeff"
LONGEST_LINE = 16 * 1024 * 1024
"""Of a file of records, in bytes; a row of CSV may span lines and is held to the same."""

_TOO_LONG = f"longer than {LONGEST_LINE:,} bytes"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
LONGEST_ID = 1_000
"""Bytes; the store refuses longer ones, and a refusal there would fail a whole batch."""


def known_encoding(name: str) -> str:
    """The canonical name of a text encoding. Raises IngestError for one that Python does not know."""
    try:
        info = codecs.lookup(name)
        "".encode(info.name)
    except LookupError as error:
        raise IngestError(f'encoding "{name}" is not known; use for example utf-8, latin-1 or utf-16') from error
    return info.name


def open_regular(path: Path, max_size: int) -> BinaryIO:
    """Open a file of at most `max_size` bytes. Raises Unreadable for anything else; never waits on a pipe."""
    try:
        # What was found is no link; one that has taken its place since then may lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    file = os.fdopen(descriptor, "rb")
    status = os.fstat(descriptor)
    reason = None
    if not stat.S_ISREG(status.st_mode):
        reason = "not a regular file"
    elif status.st_size == 0:
        reason = "empty"
    elif status.st_size > max_size:
        reason = f"{status.st_size:,} bytes, above max_file_size ({max_size:,} bytes)"
    if reason is not None:
        file.close()
        raise Unreadable(reason)
    return file


def read_text(path: Path, *, max_size: int, encoding: str) -> str:
    """The text of a file, with lines ended by a single newline. Raises Unreadable with the reason."""
    with open_regular(path, max_size) as file:
        try:
            encoding = marked_encoding(file, encoding)
            raw = file.read(max_size)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror}") from error
    return decoded(raw, encoding).replace("\r\n", "\n").replace("\r", "\n")


def decoded(raw: bytes, encoding: str) -> str:
    """`raw` as text without a byte order mark. Raises Unreadable for what is not text of this encoding."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        byte = f"0x{raw[error.start]:02x}" if error.start < len(raw) else "the end"
        kind = "binary, and " if b"\0" in raw else ""
        raise Unreadable(f"{kind}not valid {encoding}: {byte} at byte {error.start:,}") from error
    text = text.removeprefix(BOM)
    check_storable(text)
    return text


def check_storable(text: str) -> None:
    """Raise Unreadable for text that PostgreSQL refuses: one such text would fail the whole transaction."""
    position = text.find("\0")
    if position >= 0:
        raise Unreadable(f"binary: it holds the character NUL (position {position:,})")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unreadable(f"not valid Unicode: a lone surrogate (position {error.start:,})") from error


def check_id(document_id: str) -> None:
    """Raise Unreadable for an id that cannot be a key in the database."""
    check_storable(document_id)
    if not document_id or len(document_id.encode()) > LONGEST_ID:
        raise Unreadable(f"its id must have 1 to {LONGEST_ID} bytes, found {len(document_id.encode())}")


def lines_of(file: BinaryIO, encoding: str) -> Iterator[str | Unreadable]:
    """The lines of an open file with their ends, or in place of a line the reason why it cannot be read.

    Never more than one line is held. Where a newline is one byte, a bad line leaves the others readable; elsewhere the
    rest of the file is lost, which is raised as Unreadable.
    """
    encoding = marked_encoding(file, encoding)
    if "\n".encode(encoding) == b"\n":
        yield from _lines_of_bytes(file, encoding)
    else:
        yield from _lines_of_text(file, encoding)


def marked_encoding(file: BinaryIO, encoding: str) -> str:
    """The encoding that the byte order mark at the head of `file` names, else `encoding`."""
    head = file.read(4)
    file.seek(0)
    return next((name for mark, name in _MARKS if head.startswith(mark)), encoding)


def _lines_of_bytes(file: BinaryIO, encoding: str) -> Iterator[str | Unreadable]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            yield Unreadable(_TOO_LONG)
            continue
        try:
            yield decoded(line, encoding)
        except Unreadable as error:
            yield error


def _lines_of_text(file: BinaryIO, encoding: str) -> Iterator[str | Unreadable]:
    text = io.TextIOWrapper(file, encoding, newline="\n")
    try:
        while line := text.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise Unreadable(_TOO_LONG)
            yield line.removeprefix(BOM)
    except UnicodeError as error:
        raise Unreadable(f"not valid {encoding}; the rest of the file is left out") from error
    finally:
        text.detach()
