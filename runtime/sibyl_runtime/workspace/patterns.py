"""Patterns of a tool's parameters, matched in time that grows with the text alone.

Callers choose the text, and Python's own engine can take minutes for one that suits a pattern badly. This is the engine
that pydantic has: it knows neither look-around nor back-references, and needs no deadline.
"""

from __future__ import annotations

from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema


class PatternInvalid(ValueError):
    """The pattern cannot be used; the message says why."""


def matches(pattern: str, text: str) -> bool:
    """Whether some part of `text` matches. Raises PatternInvalid."""
    return _compiled(pattern).isinstance_python(text)


def check_pattern(pattern: str) -> None:
    """Raises PatternInvalid for a pattern that cannot be used."""
    _compiled(pattern)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> SchemaValidator:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        explained = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        reason = explained[0] if explained else lines[-1].removeprefix("SchemaError: ")
        raise PatternInvalid(reason) from error
