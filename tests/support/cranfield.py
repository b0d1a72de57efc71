"""The Cranfield collection (Cleverdon, 1967): 1,400 abstracts, 225 questions, and which abstracts answer which.

It is not part of the project: it lies beside it, in ../shared/data/cranfield.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parents[3] / "shared" / "data" / "cranfield"

_RECORD = re.compile(r"^\.I (\d+)\s*$", re.MULTILINE)
_FIELD = re.compile(r"^\.([TABW])\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Abstract:
    """One document. `text` starts with the title, as it does in the collection."""

    id: str
    title: str
    text: str


def missing() -> str | None:
    """The first file that is not there, None when all are."""
    files = (DIRECTORY / name for name in ("cran.all.1400", "cran.qry", "cranqrel"))
    return next((str(file) for file in files if not file.is_file()), None)


def abstracts() -> list[Abstract]:
    """All documents; two of them are empty."""
    return [Abstract(number, fields["T"], fields["W"]) for number, fields in _records("cran.all.1400")]


def questions() -> dict[str, str]:
    """The questions by position, 1 to 225: judgements count positions, and not the numbers written beside them."""
    return {str(position): fields["W"] for position, (_, fields) in enumerate(_records("cran.qry"), start=1)}


def judgements() -> dict[str, dict[str, int]]:
    """Gain 1 for every abstract judged 1 (best) to 4, by question; 5 and -1 mean not relevant, and gain 0."""
    judged: dict[str, dict[str, int]] = {}
    for line in (DIRECTORY / "cranqrel").read_text(encoding="ascii").splitlines():
        if line.strip():
            question, document, code = line.split()
            judged.setdefault(question, {})[document] = int(1 <= int(code) <= 4)
    return judged


def write_json_lines(path: Path) -> None:
    """All documents that have a text, as `data.load_documents` reads them."""
    with path.open("w", encoding="utf-8") as file:
        for abstract in abstracts():
            if abstract.text:
                file.write(json.dumps({"id": abstract.id, "title": abstract.title, "text": abstract.text}) + "\n")


def _records(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    content = (DIRECTORY / name).read_text(encoding="ascii")
    _, *parts = _RECORD.split(content)
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        _, *fields = _FIELD.split(body)
        yield number, {key: " ".join(text.split()) for key, text in zip(fields[::2], fields[1::2], strict=True)}
