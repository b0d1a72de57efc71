"""Turns what pydantic found wrong into problems that a reader can act on: place, value found, values allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sibyl_runtime.workspace.base import FIELD_RULE, available_values, is_planned, literal_values
from sibyl_runtime.workspace.errors import Location, found, nearest, number
from sibyl_runtime.workspace.references import EnvironmentText, scalar

_TYPES: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
}
_UNQUOTED: Mapping[str, tuple[type, ...]] = {"int_type": (int,), "float_type": (int, float), "bool_type": (bool,)}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}


_JSON_TYPES: Mapping[Any, frozenset[str]] = {
    str: frozenset({"string"}),
    int: frozenset({"integer"}),
    float: frozenset({"integer", "number"}),
    bool: frozenset({"boolean"}),
    list: frozenset({"array"}),
    dict: frozenset({"object"}),
}


class Located:
    """Where an error is: the place in the document, and the model and field that it is about."""

    owner: type[BaseModel] | None
    field: FieldInfo | None
    """None where the last part of the place is no field of `owner`."""

    def __init__(self, model: type[BaseModel], location: tuple[int | str, ...]) -> None:
        self.shown: Location = ()
        self.owner = self.field = None
        annotation: Any = model
        for part in location:
            annotation, hidden = self._enter(_plain(annotation), part)
            if not hidden:
                self.shown = (*self.shown, part)

    def _enter(self, annotation: Any, part: int | str) -> tuple[Any, bool]:
        """The type behind `part`, and whether the document has no such key: `[key]`, and `named` of vector_store."""
        if part == "[key]":
            return None, True
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            self.owner = annotation
            self.field = annotation.model_fields.get(str(part))
            return self.field.annotation if self.field else None, part == "named"
        self.field = None
        arguments = get_args(annotation)
        return (arguments[-1] if arguments else None), False


def _plain(annotation: Any) -> Any:
    """`annotation` without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def json_types(annotation: Any) -> frozenset[str]:
    """The JSON types of which a value of this type may be."""
    if literal_values(annotation):
        return frozenset({"string"})
    plain = _plain(annotation)
    return _JSON_TYPES.get(get_origin(plain) or plain, frozenset())


class Fault(NamedTuple):
    """One error: its place within the model's document, what to say, and a value with which to read on.

    `instead` None: read on without the key.
    """

    place: Location
    message: str
    instead: object | None = None


def explained(error: ValidationError, model: type[BaseModel], *, rules: bool = True) -> list[Fault]:
    """Every error of reading `model`; `rules`: those of rules over several fields too."""
    details = error.errors(include_url=False)
    return [_explain(detail, model) for detail in details if rules or detail["type"] != FIELD_RULE]


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> Fault:
    kind, context = detail["type"], detail.get("ctx", {})
    located = Located(model, detail["loc"])
    if kind == FIELD_RULE:
        field = context["field"]
        return Fault((*located.shown, field) if field else located.shown, str(context["message"]))
    value = detail["input"]
    instead = _last_choice(located) if kind == "literal_error" else None
    if isinstance(value, EnvironmentText) and not value.resolved:
        return Fault(located.shown, _unresolved(value, _TYPES.get(kind, "one of the allowed values")), instead)
    return Fault(located.shown, _EXPLANATIONS.get(kind, _as_found)(detail, located, value), instead)


def _last_choice(located: Located) -> object | None:
    return literal_values(located.field.annotation)[-1] if located.field is not None else None


def _unresolved(value: EnvironmentText, expected: str) -> str:
    return f"must be {expected}, and {value.reference} is not known here; write a default: ${{VARIABLE:-value}}"


def _as_found(detail: ErrorDetails, located: Located, value: Any) -> str:
    return f"{detail['msg']}, found {found(value, located.shown)}"


def _type(detail: ErrorDetails, located: Located, value: Any) -> str:
    hint = ""
    if detail["type"] == "string_type" and isinstance(value, int | float):
        hint = "; put it in quotes"
    if isinstance(value, str) and isinstance(scalar(value), _UNQUOTED.get(detail["type"], ())):
        hint = "; write it without quotes"
    return f"must be {_TYPES[detail['type']]}, found {found(value, located.shown)}{hint}"


def _unknown_key(detail: ErrorDetails, located: Located, value: Any) -> str:
    fields = located.owner.model_fields if located.owner is not None else {}
    near = nearest(str(detail["loc"][-1]), fields)
    if near is not None:
        return f"unknown key. Did you mean {near}?"
    available = sorted(name for name, field in fields.items() if not is_planned(field))
    return f"unknown key; allowed: {', '.join(available)}"


def _missing(detail: ErrorDetails, located: Located, value: Any) -> str:
    meaning = located.field.description if located.field is not None else None
    return f"is required: {meaning}" if meaning else "is required"


def _choice(detail: ErrorDetails, located: Located, value: Any) -> str:
    allowed = available_values(located.field) if located.field is not None else ""
    near = nearest(value, allowed.split(", ")) if isinstance(value, str) and allowed else None
    hint = f". Did you mean {near}?" if near else ""
    return f"found {found(value, located.shown)}; allowed: {allowed}{hint}"


def _limit(detail: ErrorDetails, located: Located, value: Any) -> str:
    key, words = _LIMITS[detail["type"]]
    return f"must be {words} {number(detail['ctx'][key])}, found {found(value, located.shown)}"


def _empty(detail: ErrorDetails, located: Located, value: Any) -> str:
    if detail["ctx"]["min_length"] == 1:
        return "must not be empty"
    return f"must have at least {detail['ctx']['min_length']} {_units(value)}, found {len(value)}"


def _long(detail: ErrorDetails, located: Located, value: Any) -> str:
    return f"must have at most {detail['ctx']['max_length']} {_units(value)}, found {len(value)}"


def _units(value: Any) -> str:
    return "characters" if isinstance(value, str) else "elements"


_EXPLANATIONS: Mapping[str, Callable[[ErrorDetails, Located, Any], str]] = {
    **dict.fromkeys(_TYPES, _type),
    **dict.fromkeys(_LIMITS, _limit),
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "literal_error": _choice,
    "too_short": _empty,
    "string_too_short": _empty,
    "too_long": _long,
    "string_too_long": _long,
}
