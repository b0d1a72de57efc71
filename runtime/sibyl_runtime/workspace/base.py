"""The model that every part of a workspace document derives from: strict types, no unknown keys, nothing mutable.

Strict means that `"5"` is not a number and `1` is not a truth value. The one exception is text that comes from the
environment, which can only be text: for a field that holds no text it is read as YAML would read it.
"""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from sibyl_runtime.workspace.references import EnvironmentText, scalar

PLANNED: Final = "x-sibyl-planned"
PLANNED_VALUES: Final = "x-sibyl-planned-values"
FIELD_RULE: Final = "field_rule"

Named = TypeVar("Named")


def planned(description: str) -> Any:
    """A field of the dialect that has no effect in this version: it parses, and setting it is a problem."""
    return Field(default=None, description=description, json_schema_extra={PLANNED: True})


def choice(default: Any, description: str, *, planned_values: tuple[str | bool, ...] = ()) -> Any:
    """A field of fixed values, of which `planned_values` are known but not available in this version."""
    return Field(default, description=description, json_schema_extra={PLANNED_VALUES: list(planned_values)})


def is_planned(field: FieldInfo) -> bool:
    """True when setting `field` has no effect in this version."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(PLANNED))


def planned_values(field: FieldInfo) -> tuple[object, ...]:
    """The values of `field` that are known, but not available in this version."""
    extra = field.json_schema_extra
    values = extra.get(PLANNED_VALUES) if isinstance(extra, dict) else None
    return tuple(values) if isinstance(values, list) else ()


def literal_values(annotation: Any) -> list[Any]:
    """The values that a field of this type may have; none when its type is not a choice."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in literal_values(part)]


def available_values(field: FieldInfo) -> str:
    """The values of a choice that this version has, as one text."""
    values = literal_values(field.annotation) or [True, False]
    shown = (value for value in values if value not in planned_values(field))
    return ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in shown)


def fail_field(field: str, message: str) -> NoReturn:
    """Say, from a validator of a whole model, that one of its fields breaks a rule."""
    raise PydanticCustomError(FIELD_RULE, "{message}", {"field": field, "message": message})


class StrictModel(BaseModel):
    """Base of every model of the contract."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=False, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _read_environment_text(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not any(isinstance(value, EnvironmentText) for value in data.values()):
            return data
        return {key: cls._typed(key, value) for key, value in data.items()}

    @classmethod
    def _typed(cls, key: Any, value: Any) -> Any:
        field = cls.model_fields.get(key)
        if field is None or not isinstance(value, EnvironmentText):
            return value
        kind = field.annotation
        if _accepts(kind, str):
            return value
        if value.resolved:
            return scalar(value) if not literal_values(kind) else value
        return value if value.default is None else _default(value.default, kind)


def _default(text: str, annotation: Any) -> Any:
    return text if literal_values(annotation) else scalar(text)


def _accepts(annotation: Any, wanted: type) -> bool:
    if get_origin(annotation) is Annotated:
        return _accepts(get_args(annotation)[0], wanted)
    if get_origin(annotation) in (Union, UnionType):
        return any(_accepts(part, wanted) for part in get_args(annotation))
    return annotation is Any or annotation is wanted
