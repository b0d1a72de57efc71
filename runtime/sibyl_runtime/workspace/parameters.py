"""The parameters of a tool or pipeline, in JSON Schema's own key names, and the check of arguments against them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from sibyl_runtime.workspace.base import StrictModel, fail_field
from sibyl_runtime.workspace.errors import ArgumentsInvalid, Location, found, nearest, number, problem_at
from sibyl_runtime.workspace.patterns import PatternInvalid, check_pattern, matches
from sibyl_runtime.workspace.references import scalar
from sibyl_runtime.workspace.text import Text

Fault = tuple[Location, str]
MOST_FAULTS: Final = 20
"""Told of one call. Looking for more would give a small request a large answer, and a long time."""
ParameterType = Literal["string", "integer", "number", "boolean", "array", "object"]

_APPLIES_TO: dict[str, frozenset[str]] = {
    "minimum": frozenset({"integer", "number"}),
    "maximum": frozenset({"integer", "number"}),
    "minLength": frozenset({"string"}),
    "maxLength": frozenset({"string"}),
    "pattern": frozenset({"string"}),
    "items": frozenset({"array"}),
    "minItems": frozenset({"array"}),
    "maxItems": frozenset({"array"}),
    "properties": frozenset({"object"}),
}
_RANGES = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))
_NAMES_OF_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


class ToolParameter(StrictModel):
    """One parameter. Key names are those of JSON Schema, which is what clients get to see."""

    type: ParameterType = Field("string", description="Kind of value.")
    description: str | None = Field(None, description="What the parameter means, for those who call.")
    required: bool = Field(False, description="Every call must give it.")
    default: Any = Field(None, description="Value when a call does not give it.")
    minimum: float | None = Field(None, description="Least number.")
    maximum: float | None = Field(None, description="Greatest number.")
    minLength: int | None = Field(None, ge=0, description="Shortest text, in characters.")
    maxLength: int | None = Field(None, ge=0, description="Longest text, in characters.")
    pattern: Text | None = Field(
        None,
        description="What the text must hold a match of: a regular expression without look-around.",
    )
    enum: list[Any] | None = Field(None, min_length=1, description="The only values allowed.")
    items: ToolParameter | None = Field(None, description="What each element must be.")
    minItems: int | None = Field(None, ge=0, description="Fewest elements.")
    maxItems: int | None = Field(None, ge=0, description="Most elements.")
    properties: dict[str, ToolParameter] | None = Field(
        None, description="The keys of the object; no others may occur."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name, types in _APPLIES_TO.items():
            if getattr(self, name) is not None and self.type not in types:
                fail_field(name, f"does not apply to type {self.type}; remove it, or change the type")
        for low, high in _RANGES:
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                fail_field(low, f"must not be above {high} ({number(most)}), found {number(least)}")
            if self.type == "integer" and None not in (least, most) and math.ceil(least) > math.floor(most):
                fail_field(low, f"leaves no whole number up to {high} ({number(most)}), found {number(least)}")
        self._pattern_compiles()
        if self.required and self.has_default:
            fail_field("default", "never takes effect, as the parameter is required; remove one of the two")
        return self

    def _pattern_compiles(self) -> None:
        if self.pattern is None:
            return
        try:
            check_pattern(self.pattern)
        except PatternInvalid as error:
            fail_field("pattern", f'"{self.pattern}" is not a regular expression that can be used: {error}')

    @property
    def has_default(self) -> bool:
        """True when a default is written; null is a default too."""
        return "default" in self.model_fields_set


def argument_faults(value: Any, parameter: ToolParameter, at: Location) -> Iterator[Fault]:
    """Everything in which `value` does not fit `parameter`; nothing is coerced."""
    if not _is_of_type(value, parameter.type):
        quoted = isinstance(value, str) and _is_of_type(scalar(value), parameter.type)
        hint = "; send it without quotes" if quoted else ""
        yield (at, f"must be {_NAMES_OF_TYPES[parameter.type]}, found {found(value, at)}{hint}")
        return
    if parameter.enum is not None and not any(_equal(value, allowed) for allowed in parameter.enum):
        allowed = ", ".join(found(item) for item in parameter.enum)
        yield (at, f"found {found(value, at)}; allowed: {allowed}")
    if isinstance(value, str):
        yield from _text_problems(value, parameter, at)
    elif isinstance(value, list):
        yield from _list_problems(value, parameter, at)
    elif isinstance(value, Mapping):
        yield from _object_problems(value, parameter, at)
    elif not isinstance(value, bool):
        yield from _bound_problems(value, parameter.minimum, parameter.maximum, at, found(value, at))


def _is_of_type(value: Any, kind: ParameterType) -> bool:
    if kind in ("integer", "number"):
        numbers = int if kind == "integer" else int | float
        finite = not isinstance(value, float) or math.isfinite(value)
        return isinstance(value, numbers) and not isinstance(value, bool) and finite
    types = {"string": str, "boolean": bool, "array": list, "object": Mapping}
    return isinstance(value, types[kind])


def _equal(value: Any, allowed: Any) -> bool:
    return bool(value == allowed) and isinstance(value, bool) == isinstance(allowed, bool)


def _bound_problems(
    value: float, least: float | None, most: float | None, at: Location, shown: str, unit: str = ""
) -> Iterator[Fault]:
    if least is not None and value < least:
        yield (at, f"must be at least {number(least)}{unit}, found {shown}")
    if most is not None and value > most:
        yield (at, f"must be at most {number(most)}{unit}, found {shown}")


def _text_problems(value: str, parameter: ToolParameter, at: Location) -> Iterator[Fault]:
    yield from _bound_problems(
        len(value), parameter.minLength, parameter.maxLength, at, f"{len(value)} characters", " characters"
    )
    if parameter.pattern is not None and not matches(parameter.pattern, value):
        yield (at, f"must match {parameter.pattern}, found {found(value, at)}")


def _nul_faults(value: Any, name: str) -> Iterator[Fault]:
    """No stored text has it, PostgreSQL takes none with it, and the server of a model may end the text there.

    Of the argument itself only: in lists and mappings whoever reads them knows which one is to be left out.
    """
    if isinstance(value, str) and "\0" in value:
        yield ((name,), f"must not hold the character NUL, found it at position {value.index(chr(0))}; remove it")


def _list_problems(value: list[Any], parameter: ToolParameter, at: Location) -> Iterator[Fault]:
    yield from _bound_problems(
        len(value), parameter.minItems, parameter.maxItems, at, f"{len(value)} elements", " elements"
    )
    if parameter.items is not None:
        for index, item in enumerate(value):
            yield from argument_faults(item, parameter.items, (*at, index))


def _object_problems(value: Mapping[Any, Any], parameter: ToolParameter, at: Location) -> Iterator[Fault]:
    if parameter.properties is None:
        return
    yield from unknown_names(value, parameter.properties, at, "key")
    for name, inner in parameter.properties.items():
        if name in value:
            yield from argument_faults(value[name], inner, (*at, name))
        elif inner.required:
            yield ((*at, name), f"is required; give {_NAMES_OF_TYPES[inner.type]}")


def unknown_names(given: Mapping[Any, Any], known: Mapping[str, Any], at: Location, label: str) -> Iterator[Fault]:
    """A problem for each key of `given` that is not in `known`."""
    for name in given:
        if name not in known:
            near = nearest(str(name), known)
            hint = f"Did you mean {near}?" if near else f"Allowed: {', '.join(sorted(known)) or 'none'}."
            yield ((*at, str(name)), f"unknown {label}. {hint}")


def checked_arguments(
    arguments: Mapping[str, Any], parameters: Mapping[str, ToolParameter], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """`arguments` with defaults filled in; `defaults` win over the parameters' own. Raises ArgumentsInvalid."""
    faults = list(islice(_faults(arguments, parameters, defaults), MOST_FAULTS + 1))
    if faults:
        told = [problem_at(at, message) for at, message in faults[:MOST_FAULTS]]
        if len(faults) > MOST_FAULTS:
            told.append(problem_at(faults[-1][0], f"{faults[-1][1]}; more is wrong, and not listed"))
        raise ArgumentsInvalid(told)
    own = {name: parameter.default for name, parameter in parameters.items() if parameter.has_default}
    given = {**own, **defaults, **arguments}
    return {name: given[name] for name in parameters if name in given}


def _faults(
    arguments: Mapping[str, Any], parameters: Mapping[str, ToolParameter], defaults: Mapping[str, Any]
) -> Iterator[Fault]:
    yield from unknown_names(arguments, parameters, (), "parameter")
    for name, parameter in parameters.items():
        if name in arguments:
            yield from argument_faults(arguments[name], parameter, (name,))
            yield from _nul_faults(arguments[name], name)
        elif parameter.required and name not in defaults and not parameter.has_default:
            yield ((name,), f"is required; give {_NAMES_OF_TYPES[parameter.type]}")
