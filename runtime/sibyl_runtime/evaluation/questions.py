"""Judged questions: what is asked, and which documents answer it.

Either JSON lines that hold both, or the two files of a BEIR data set: its questions and its judgements (qrels). Every
problem of a file is reported, with its line: who has written five hundred questions does not want to hear of one
mistake at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictInt, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from sibyl_runtime.errors import SibylError
from sibyl_runtime.evaluation.judgements import Qrels, read_qrels

PROBLEMS_SHOWN = 20
HIGHEST_GRADE = 1_000
Grade = Annotated[StrictInt, Field(ge=0, le=HIGHEST_GRADE)]
DocumentId = Annotated[str, Field(min_length=1)]


class QuestionsInvalid(SibylError):
    """The questions or their judgements cannot be used; the message has a line for each problem."""

    status = 400
    code = "invalid_parameters"


@dataclass(frozen=True)
class Question:
    """`grades` by document id: 0 is not relevant, and a document of grade 2 counts twice. `line` counts from 1."""

    id: str
    text: str
    grades: Mapping[str, int]
    line: int


@dataclass(frozen=True)
class JudgedQuestions:
    """The questions in the order of the file. `unjudged` of a BEIR file have no judgement, and are not asked."""

    path: Path
    questions: tuple[Question, ...]
    unjudged: int = 0

    def check_documents(self, known: frozenset[str]) -> None:
        """Raises QuestionsInvalid for every judged document that is not `known`."""
        found = [
            f'{self.path}:{question.line}: relevant: the collection has no document "{document}"; write the id as '
            "answers show it under `document`, or ingest it"
            for question in self.questions
            for document, grade in question.grades.items()
            if grade > 0 and document not in known
        ]
        _raise(found)


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    question: str = Field(validation_alias=AliasChoices("question", "text"), pattern=r"\S")
    id: str | None = Field(None, validation_alias=AliasChoices("id", "_id"), min_length=1)
    relevant: dict[DocumentId, Grade] | None = None
    metadata: dict[str, Any] | None = None

    @field_validator("relevant", mode="before")
    @classmethod
    def _graded(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(document, str) for document in value):
            return dict.fromkeys(value, 1)
        if not isinstance(value, dict):
            raise PydanticCustomError(
                "relevant", 'must be a list of document ids, or an object such as {"guide.md": 2}'
            )
        return value


@dataclass
class _Reading:
    """What was read so far, and what is wrong with it."""

    path: Path
    qrels: Qrels | None
    questions: list[Question] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lines_of_ids: dict[str, int] = field(default_factory=dict)
    unjudged: int = 0

    def read(self, number: int, text: str) -> None:
        """Take one line."""
        try:
            line = _Line.model_validate(_object(text))
            self._take(number, line)
        except ValidationError as error:
            self.problems += [f"{self.path}:{number}: {_told(problem)}" for problem in error.errors()]
        except ValueError as error:
            self.problems.append(f"{self.path}:{number}: {error}")

    def _take(self, number: int, line: _Line) -> None:
        name = line.id if line.id is not None else str(number)
        if (earlier := self.lines_of_ids.setdefault(name, number)) != number:
            raise ValueError(f'id: "{name}" is the id of line {earlier} too; give each question one of its own')
        grades = self._grades(name, line)
        if grades is None:
            self.unjudged += 1
        elif not any(grade > 0 for grade in grades.values()):
            raise ValueError(
                "relevant: no document is relevant, and no answer could be right; name one with a grade above 0, or "
                "remove the question"
            )
        else:
            self.questions.append(Question(name, line.question, grades, number))

    def _grades(self, name: str, line: _Line) -> Mapping[str, int] | None:
        if self.qrels is not None:
            if line.relevant is not None:
                raise ValueError("relevant: the judgements come from --qrels; remove one of the two")
            return self.qrels.grades.get(name)
        if line.metadata is not None:
            raise ValueError("metadata: has no effect; remove it")
        if line.relevant is None:
            raise ValueError(
                'relevant: is missing; list ids of documents that answer the question, such as ["guide.md"], or give '
                'them grades: {"guide.md": 2}. Judgements in a file of their own are given with --qrels'
            )
        return line.relevant


def read_questions(path: Path, qrels: Path | None = None) -> JudgedQuestions:
    """The judged questions in `path`, with the judgements in `qrels` when given. Raises QuestionsInvalid."""
    try:
        judged = None if qrels is None else read_qrels(qrels)
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise QuestionsInvalid(f"{error.filename}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise QuestionsInvalid(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    reading = _Reading(path, judged)
    for number, text in enumerate(lines, start=1):
        if text.strip():
            reading.read(number, text)
    _raise([*(judged.problems if judged else ()), *reading.problems, *_strangers(reading)])
    if not reading.questions:
        raise QuestionsInvalid(f"{path}: holds no question with judgements; write one JSON object a line")
    return JudgedQuestions(path, tuple(reading.questions), reading.unjudged)


def _strangers(reading: _Reading) -> list[str]:
    if reading.qrels is None:
        return []
    return [
        f'{reading.qrels.path}:{line}: judges the question "{name}", which {reading.path} does not hold'
        for name, line in reading.qrels.lines.items()
        if name not in reading.lines_of_ids
    ]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object such as {"question": "How ...?", "relevant": ["guide.md"]}')
    return value


def _told(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    found = json.dumps(problem["input"], ensure_ascii=False, default=str)
    if problem["type"] == "missing":
        return f"{where}: is missing"
    if problem["type"] == "extra_forbidden":
        allowed = "question (or text), id (or _id), relevant"
        return f"{where}: is not known, or means the same as another key; allowed: {allowed}"
    if problem["type"] == "string_pattern_mismatch":
        return f"{where}: must be text that asks something, found {found}"
    return f"{where}: {problem['msg']}, found {found if len(found) <= 80 else found[:79] + '…'}"


def _raise(problems: list[str]) -> None:
    if not problems:
        return
    shown = problems[:PROBLEMS_SHOWN]
    more = [f"... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
    raise QuestionsInvalid("\n".join([*shown, *more]))
