"""Metadata filters in PostgreSQL's terms: equality as one jsonb value, all else as one jsonpath. Never as SQL text.

Equality reads `metadata @> contains`, which the metadata index answers. The other operators read `metadata @@ path`:
a jsonpath without variables, because that operator takes none; names and values stand in it as JSON, whose strings,
numbers and truth values are jsonpath literals as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.store.records import Filters
from sibyl_runtime.workspace.filters import Condition, FilterInvalid, conditions

_COMPARISONS = {"eq": "==", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# Operators that speak of documents without the field, too.
_MET_WITHOUT = ("ne", "not_in", "exists")


@dataclass(frozen=True)
class EncodedFilter:
    """What matching metadata contains (`contains`, JSON) and meets (`path`, a jsonpath predicate); both must hold.

    `fields` are those that a document must have to match.
    """

    contains: bytes | None
    path: str | None
    fields: tuple[str, ...] = ()
    own: EncodedFilter | None = None
    """The part that is the workspace's."""


def encode_filters(filters: Filters | None) -> EncodedFilter | None:
    """None when nothing is asked for. A mapping is read as a caller writes it.

    Numbers compare by value (2020 matches 2020.0), text by code points; true is not 1. A field that is not there, or
    of another kind than the value, meets only `ne`, `not_in` and `exists: false`. Raises InvalidParameters.
    """
    if not filters:
        return None
    try:
        asked = conditions(filters) if isinstance(filters, Mapping) else filters
    except FilterInvalid as error:
        raise refused(error) from error
    own = [condition for condition in asked if condition.own]
    encoded = _encoded(asked)
    return replace(encoded, own=_encoded(own)) if own else encoded


def _encoded(asked: Sequence[Condition]) -> EncodedFilter:
    equal: dict[str, Any] = {}
    rest: list[Condition] = []
    for condition in asked:
        if "\x00" in condition.field:
            raise InvalidParameters(f"`filters` holds a NUL character at key {condition.field!r}")
        if condition.operator == "eq" and condition.field not in equal:
            equal[condition.field] = condition.value
        else:
            rest.append(condition)
    try:
        contains = orjson.dumps(equal, option=orjson.OPT_SORT_KEYS) if equal else None
        path = " && ".join(f"({_predicate(condition)})" for condition in rest)
    except orjson.JSONEncodeError as error:
        raise InvalidParameters(f"`filters` cannot be compared: {error}") from error
    fields = tuple(sorted({one.field for one in asked if one.operator not in _MET_WITHOUT}))
    return EncodedFilter(contains, f"strict {path}" if path else None, fields)


def refused(error: FilterInvalid) -> InvalidParameters:
    """The caller's mistake, with the place of it."""
    place = f"filters.{error.place}" if error.place else "filters"
    return InvalidParameters(f"`{place}` {error.message}", details={"field": place})


def _predicate(condition: Condition) -> str:
    """For a strict path: a list is not searched for its elements, and a missing field is an error, thus "unknown"."""
    field = f"$.{_literal(condition.field)}"
    if condition.operator in _COMPARISONS:
        return f"{field} {_COMPARISONS[condition.operator]} {_literal(condition.value)}"
    if condition.operator == "exists":
        return f"exists({field})" if condition.value else f"(exists({field})) is unknown"
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    some = " || ".join(f"{field} == {_literal(value)}" for value in values)
    return some if condition.operator == "in" else f"!({some}) || ({some}) is unknown"


def _literal(value: Any) -> str:
    return orjson.dumps(value).decode()
