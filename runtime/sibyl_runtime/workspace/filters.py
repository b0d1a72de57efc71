"""Metadata filters: what a document or a caller may ask of the metadata of chunks, read into typed conditions.

A plain value is equality. A mapping holds operators: `{"year": {"gte": 2020, "lt": 2024}, "lang": {"in": ["en"]}}`. All
conditions must hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Literal, get_args

Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "exists"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

_ORDERED = ("gt", "gte", "lt", "lte")
_LISTS = ("in", "not_in")
MOST_VALUES = 1_000
"""Values of one list. They become part of one statement."""
MOST_FIELDS = 100


@dataclass(frozen=True)
class Condition:
    """One test of one metadata field; `value` is a list for `in` and `not_in`, true or false for `exists`."""

    field: str
    operator: Operator
    value: Any
    own: bool = dataclass_field(default=False, compare=False)
    """Of the workspace: what does not meet it is not there for callers."""


class FilterInvalid(ValueError):
    """A filter that cannot be applied. `place` is the path within the filters, such as `year.gte`."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def conditions(filters: Mapping[Any, Any]) -> tuple[Condition, ...]:
    """The conditions that `filters` mean, in the order written. Raises FilterInvalid."""
    if len(filters) > MOST_FIELDS:
        raise FilterInvalid("", f"must name {MOST_FIELDS} fields at most, found {len(filters)}")
    return tuple(condition for field, asked in filters.items() for condition in _conditions_of(field, asked))


def _conditions_of(field: Any, asked: Any) -> Iterator[Condition]:
    if not isinstance(field, str):
        raise FilterInvalid(str(field), f"is no name of a field, found {_kind(field)}; names are text")
    if not isinstance(asked, Mapping):
        if not _is_plain(asked):
            raise FilterInvalid(
                field, f"must be text, a number, true or false, or a mapping of operators, found {_kind(asked)}"
            )
        _check_plain(field, asked)
        yield Condition(field, "eq", asked)
        return
    if not asked:
        raise FilterInvalid(field, f"is an empty mapping; give an operator: {', '.join(OPERATORS)}")
    for operator, value in asked.items():
        if operator not in OPERATORS:
            raise FilterInvalid(f"{field}.{operator}", f"is no operator; allowed: {', '.join(OPERATORS)}")
        _check_operand(f"{field}.{operator}", operator, value)
        yield Condition(field, operator, tuple(value) if operator in _LISTS else value)
    _check_range(field, asked)


def _check_operand(place: str, operator: Operator, value: Any) -> None:
    if operator == "exists":
        if not isinstance(value, bool):
            raise FilterInvalid(place, f"must be true or false, found {_kind(value)}")
    elif operator in _LISTS:
        _check_list(place, value)
    elif operator in _ORDERED and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise FilterInvalid(place, f"must be a number or text, which have an order, found {_kind(value)}")
    elif not _is_plain(value):
        raise FilterInvalid(place, f"must be text, a number, true or false, found {_kind(value)}")
    else:
        _check_plain(place, value)


def _check_list(place: str, values: Any) -> None:
    if not isinstance(values, list | tuple):
        raise FilterInvalid(place, f"must be a list of values, found {_kind(values)}")
    if not 1 <= len(values) <= MOST_VALUES:
        raise FilterInvalid(place, f"must hold 1 to {MOST_VALUES} values, found {len(values)}")
    for index, value in enumerate(values):
        if not _is_plain(value):
            raise FilterInvalid(f"{place}[{index}]", f"must be text, a number, true or false, found {_kind(value)}")
        _check_plain(f"{place}[{index}]", value)


def _check_range(field: str, asked: Mapping[Any, Any]) -> None:
    """A bound of text and one of a number exclude each other: no value could meet both."""
    bounds = {operator: isinstance(asked[operator], str) for operator in _ORDERED if operator in asked}
    if len(set(bounds.values())) > 1:
        raise FilterInvalid(field, f"compares with text and with a number ({', '.join(bounds)}); use one kind")


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _check_plain(place: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterInvalid(place, f"is {value}; use a finite number")
    if isinstance(value, str) and "\x00" in value:
        raise FilterInvalid(place, "holds a NUL character; stored metadata never does")


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names = ((str, "text"), (int | float, "a number"), (list | tuple, "a list"), (Mapping, "a mapping"))
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)
