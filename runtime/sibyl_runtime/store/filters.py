"""Metadata filters: flat equality, checked here and handed to PostgreSQL as one jsonb value, never as SQL text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from sibyl_runtime.errors import InvalidParameters


def encode_filters(filters: Mapping[str, Any] | None) -> bytes | None:
    """The jsonb document that matching metadata contains (`metadata @> filter`); None when nothing is asked for.

    Numbers compare by value (2020 matches 2020.0), text exactly; true is not 1.
    Raises InvalidParameters naming the key.
    """
    if not filters:
        return None
    for key, value in filters.items():
        _check(key, value)
    try:
        return orjson.dumps(dict(filters), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise InvalidParameters(f"`filters` cannot be compared: {error}") from error


def _check(key: object, value: object) -> None:
    if not isinstance(key, str):
        raise InvalidParameters(f"`filters` has the key {key!r}; keys are text")
    if "\x00" in key or (isinstance(value, str) and "\x00" in value):
        raise InvalidParameters(f"`filters` holds a NUL character at key {key!r}; stored metadata never does")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidParameters(f"`filters.{key}` is {value}; use a finite number")
    if not isinstance(value, str | int | float | bool):
        raise InvalidParameters(
            f"`filters.{key}` is a {type(value).__name__}; filters test equality with text, a number, true or false"
        )
