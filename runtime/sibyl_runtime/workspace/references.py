"""The three meanings of `${...}`, told apart by spelling alone so that every reader of a document agrees.

`${DATABASE_URL}`, `${VAR:-default}`: upper case, a variable of the environment.
`${top_k}`, `${top_k:-5}`: lower case, a parameter of the pipeline.
`${retrieval.avg_score}`: lower case with a dot, the result of an earlier step; in conditions only.
`$${...}` is the text `${...}`, not a reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import yaml

_REFERENCE = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<body>[^}]*)(?P<close>\}?)")
_ENVIRONMENT = re.compile(r"^[A-Z_][A-Z0-9_]*$")
_PARAMETER = re.compile(r"^[a-z_][a-z0-9_]*$")
_RESULT = re.compile(r"^(?P<step>[a-z_][a-z0-9_]*)\.(?P<field>[a-z_][a-z0-9_]*)$")

ReferenceKind = Literal["environment", "parameter", "result"]


class MalformedReference(ValueError):
    """A `${...}` that has none of the three meanings; the message names it and the allowed forms."""


@dataclass(frozen=True)
class Reference:
    """One `${...}` in a text. `name` is `step.field` for a result; `start` and `end` are offsets, end exclusive."""

    kind: ReferenceKind
    name: str
    default: str | None
    start: int
    end: int

    @property
    def text(self) -> str:
        """The reference as written."""
        return f"${{{self.name}}}" if self.default is None else f"${{{self.name}:-{self.default}}}"


class EnvironmentText(str):
    """Text that came from the environment, or still refers to it. `reference` is what the document says instead.

    `default` is set only while the text is unresolved and the document gives one.
    """

    reference: str
    resolved: bool
    default: str | None

    def __new__(cls, text: str, *, reference: str, resolved: bool, default: str | None = None) -> EnvironmentText:
        made = super().__new__(cls, text)
        made.reference, made.resolved, made.default = reference, resolved, default
        return made


class ArgumentText(str):
    """Text that holds what a caller gave for a parameter, or its default: a value, never read as a template."""


def references(text: str) -> Iterator[Reference]:
    """Every reference in `text`, in order. Raises MalformedReference for a `${...}` that means nothing."""
    for match in _REFERENCE.finditer(text):
        if match["escape"] is None:
            yield _classify(match)


def _classify(match: re.Match[str]) -> Reference:
    body = match["body"]
    if not match["close"]:
        raise MalformedReference(f'"${{{body}" has no closing brace; write $${{ for a literal ${{')
    name, separator, default = body.partition(":-")
    name = name.strip()
    kind: ReferenceKind
    if _RESULT.match(name):
        kind = "result"
    elif _ENVIRONMENT.match(name):
        kind = "environment"
    elif _PARAMETER.match(name):
        kind = "parameter"
    else:
        raise MalformedReference(
            f'"${{{body}}}" is not a reference; allowed: ${{UPPER_CASE}} for the environment, ${{lower_case}} for a '
            "parameter, ${step.field} for a result in a condition, $${ for a literal ${"
        )
    return Reference(kind, name, default if separator else None, match.start(), match.end())


def references_of_kind(kind: ReferenceKind, text: str) -> list[Reference]:
    """The references of one kind in `text`; none when it is malformed, which the checks of a document report."""
    if "${" not in text:
        return []
    try:
        return [reference for reference in references(text) if reference.kind == kind]
    except MalformedReference:
        return []


def whole_reference(text: str) -> Reference | None:
    """The reference that is all of `text`, None when there is none or something beside it.

    Raises MalformedReference.
    """
    found = list(references(text))
    whole = len(found) == 1 and (found[0].start, found[0].end) == (0, len(text))
    return found[0] if whole else None


def unescape(text: str) -> str:
    """`text` with `$${` as the `${` that it stands for."""
    return text.replace("$${", "${")


def scalar(text: str) -> object:
    """The value that YAML gives to an unquoted `text`: a number, true, false, null, or the text itself."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, bool | int | float) or value is None else text
