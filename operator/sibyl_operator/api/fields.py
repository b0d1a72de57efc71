"""The small types that the fields of the custom resource are made of, each bounded as the CRD needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DATA_KEY: Final = r"^[-._a-zA-Z0-9]+$"
VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
IMAGE: Final = r"^[^\s]+$"
QUALIFIED_NAME: Final = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
LONGEST_QUALIFIED_NAME: Final = 317

# What a text must be, in words: a pattern is for programs.
FORMS: Final[Mapping[str, str]] = {
    SUBDOMAIN: "the name of an object: lower-case letters, digits, - and .",
    DATA_KEY: "a key of a Secret or ConfigMap: letters, digits, -, _ and .",
    VARIABLE: "the name of a variable: letters, digits and _, no digit first",
    IMAGE: "an image reference, without blanks",
    QUALIFIED_NAME: "a name of letters, digits, -, _ and ., maybe with a domain and / before it",
    LABEL_VALUE: "the value of a label: letters, digits, -, _ and .",
}

LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_MAP_KEYS: Final = "x-kubernetes-list-map-keys"


def _qualified(name: str) -> str:
    if len(name) > LONGEST_QUALIFIED_NAME or not re.fullmatch(QUALIFIED_NAME, name):
        raise PydanticCustomError("form", "should be {allowed}", {"allowed": FORMS[QUALIFIED_NAME]})
    return name


ObjectName = Annotated[str, StringConstraints(pattern=SUBDOMAIN, min_length=1, max_length=253)]
DataKey = Annotated[str, StringConstraints(pattern=DATA_KEY, min_length=1, max_length=253)]
VariableName = Annotated[str, StringConstraints(pattern=VARIABLE, min_length=1, max_length=128)]
VariableValue = Annotated[str, StringConstraints(max_length=4096)]
ImageReference = Annotated[str, StringConstraints(pattern=IMAGE, min_length=1, max_length=512)]
QualifiedName = Annotated[
    str, StringConstraints(pattern=QUALIFIED_NAME, min_length=1, max_length=LONGEST_QUALIFIED_NAME)
]
LabelKey = Annotated[str, AfterValidator(_qualified)]  # a map's keys: a structural schema has no word for their pattern
LabelValue = Annotated[str, StringConstraints(pattern=LABEL_VALUE, max_length=63)]
AnnotationValue = Annotated[str, StringConstraints(max_length=4096)]


def map_by(key: str, *, most: int, description: str) -> Any:
    """A list of named items: `key` is unique, and writers can own one item each."""
    extra: JsonDict = {LIST_TYPE: "map", LIST_MAP_KEYS: [key]}
    return Field(default=(), max_length=most, strict=False, description=description, json_schema_extra=extra)


def atomic_list(*, most: int, description: str) -> Any:
    """A list that one writer owns as a whole."""
    extra: JsonDict = {LIST_TYPE: "atomic"}
    return Field(default=(), max_length=most, strict=False, description=description, json_schema_extra=extra)


def named_once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """The items, when no two have the same `name`: what `x-kubernetes-list-type: map` means."""
    names = [item.name for item in items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PydanticCustomError("named_once", "holds {names} more than once", {"names": ", ".join(twice)})
    return items
