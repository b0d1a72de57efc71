"""The Cranfield collection: 1,400 abstracts, 225 questions, judged. It is read where it lies, never copied."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CRANFIELD = Path(__file__).parents[3] / "shared" / "data" / "cranfield"
_RECORD = re.compile(r"^\.I (\d+)\s*$", re.MULTILINE)
_FIELD = re.compile(r"^\.([TABW])\s*$", re.MULTILINE)
_RELEVANT = frozenset({1, 2, 3, 4})


@dataclass(frozen=True)
class Abstract:
    """One document; the text begins with its title in the original, as it does here."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Question:
    """One question; `relevant` holds the ids of the documents judged 1 to 4."""

    id: str
    text: str
    relevant: frozenset[str]


def documents() -> Iterator[Abstract]:
    """The documents that have a text, in the order of the file."""
    for number, fields in _records(CRANFIELD / "cran.all.1400"):
        if text := fields.get("W", ""):
            yield Abstract(number, fields.get("T", ""), text)


def queries() -> Iterator[Question]:
    """The questions, numbered by position from 1, as the judgements number them."""
    relevant = _judgements()
    for position, (_, fields) in enumerate(_records(CRANFIELD / "cran.qry"), 1):
        yield Question(str(position), fields["W"], frozenset(relevant[str(position)]))


def _judgements() -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for line in (CRANFIELD / "cranqrel").read_text().splitlines():
        question, document, grade = line.split()
        if int(grade) in _RELEVANT:
            found[question].add(document)
    return found


def _records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    parts = _RECORD.split(path.read_text(encoding="latin-1").replace("\r\n", "\n"))
    for number, body in zip(parts[1::2], parts[2::2], strict=True):
        pieces = _FIELD.split(body)
        fields = {name: " ".join(text.split()) for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
        yield number, fields
