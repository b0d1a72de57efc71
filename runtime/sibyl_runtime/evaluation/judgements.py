"""Judgements in a file of their own, as data sets publish them: qrels of BEIR (tab separated) and of TREC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEADER = ["query-id", "corpus-id", "score"]


@dataclass(frozen=True)
class Qrels:
    """`grades` by question and document, `lines` the first line of each question, counted from 1."""

    path: Path
    grades: dict[str, dict[str, int]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_qrels(path: Path) -> Qrels:
    """BEIR's `question document grade` with or without its header, or TREC's `question 0 document grade`.

    Grades below 0, by which some collections say that a document was judged and is not relevant, become 0. What is
    wrong with lines is in `problems`. Raises OSError and UnicodeDecodeError.
    """
    qrels = Qrels(path)
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        fields = line.split()
        if not fields or (number == 1 and fields == _HEADER):
            continue
        try:
            _take(qrels, number, fields)
        except ValueError as error:
            qrels.problems.append(f"{path}:{number}: {error}")
    return qrels


def _take(qrels: Qrels, number: int, fields: Sequence[str]) -> None:
    if len(fields) not in (3, 4):
        raise ValueError(
            f"found {len(fields)} fields; write `question document grade`, or `question 0 document grade` as TREC does"
        )
    question, document, written = fields[0], fields[-2], fields[-1]
    try:
        grade = max(0, int(written))
    except ValueError:
        raise ValueError(f'the grade "{written}" is no whole number') from None
    judged = qrels.grades.setdefault(question, {})
    if judged.get(document, grade) != grade:
        raise ValueError(f'"{document}" has two grades for question "{question}"; keep one of them')
    judged[document] = grade
    qrels.lines.setdefault(question, number)
