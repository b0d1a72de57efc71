"""From the problems that validation finds to the problems that a person reads: one path, one sentence, no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from sibyl_operator.api.base import RULES_BROKEN
from sibyl_operator.api.fields import FORMS
from sibyl_operator.api.structure import Location, UnknownField
from sibyl_runtime.workspace import Problem, format_path, suggestion

SPEC: Location = ("spec",)
KEY_OF_A_MAP: Final = "[key]"  # how pydantic marks a breach by the key itself
WORDS: Final[Mapping[str, str]] = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "int_type": "a whole number",
    "model_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}
_QUOTED_TYPES = (str, int, float, bool)
_LONGEST_QUOTE = 80


def spec_problems(error: ValidationError) -> Iterator[Problem]:
    """Every breach that pydantic found in `spec`."""
    for detail in error.errors(include_url=False):
        location: Location = (*SPEC, *(part for part in detail["loc"] if part != KEY_OF_A_MAP))
        context: Mapping[str, Any] = detail.get("ctx", {})
        if detail["type"] == RULES_BROKEN:
            for field, sentence in context["broken"]:
                at = location if field is None else (*location, field)
                yield _problem(at, sentence)
        elif detail["type"] == "missing":
            yield _problem(location, "is required")
        else:
            wanted = WORDS.get(detail["type"]) or FORMS.get(str(context.get("pattern")))
            said = f"should be {wanted}" if wanted else detail["msg"]
            yield _problem(location, _sentence(said, detail["input"]))


def unknown_field_problem(unknown: UnknownField) -> Problem:
    """A field that the CRD does not have; strict field validation would refuse it."""
    name = str(unknown.location[-1])
    location: Location = (*SPEC, *unknown.location)
    return _problem(location, f"is not a field{suggestion(name, unknown.known, 'fields here')}")


def _problem(location: Location, message: str) -> Problem:
    return Problem(format_path(location), message)


def _sentence(message: str, found: Any) -> str:
    """pydantic's own sentence, without its capital letter, and what was found in place of it."""
    said = message.replace("Input should", "should")
    said = said[0].lower() + said[1:]
    if isinstance(found, _QUOTED_TYPES) and len(str(found)) <= _LONGEST_QUOTE:
        return f"{said}, found {found!r}" if isinstance(found, str) else f"{said}, found {found}"
    return said
