"""What comes out of a file: parts, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["html", "pdf"]


@dataclass(frozen=True)
class Part:
    """The text of a file, or of one page of it: `page` of `pages`, counted from 1.

    `problem` tells why this page has no text that could be read; the pages after it are not affected.
    """

    text: str
    title: str = ""
    page: int | None = None
    pages: int | None = None
    problem: str | None = None


class Refused(Exception):
    """A file cannot be read, or not further; the message is the reason that is reported."""
