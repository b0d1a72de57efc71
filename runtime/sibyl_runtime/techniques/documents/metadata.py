"""Metadata as JSON can hold it, whatever YAML or JSON it came from."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from sibyl_runtime.techniques.documents.decoding import check_storable
from sibyl_runtime.techniques.documents.events import Unreadable

MOST_VALUES = 10_000
DEEPEST = 32


def plain_metadata(values: Mapping[Any, Any]) -> dict[str, Any]:
    """`values` with text keys, dates as ISO 8601 text and sets as sorted lists.

    Raises Unreadable for what JSON or PostgreSQL cannot hold, and beyond 10,000 values: a few YAML aliases can stand
    for more data than there is memory.
    """
    return _Copy().mapping(values, 1)


class _Copy:
    def __init__(self) -> None:
        self._seen = 0

    def mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return {self._text(str(key)): self.value(value, depth) for key, value in values.items()}

    def value(self, value: Any, depth: int) -> Any:
        self._seen += 1
        if self._seen > MOST_VALUES or depth > DEEPEST:
            raise Unreadable(f"its metadata holds more than {MOST_VALUES:,} values or {DEEPEST} levels")
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return _representable(value)
        if isinstance(value, float):
            return _finite(value)
        if isinstance(value, datetime.date | datetime.datetime):
            return value.isoformat()
        if isinstance(value, Mapping):
            return self.mapping(value, depth + 1)
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            return sorted((self.value(item, depth + 1) for item in value), key=str)
        raise Unreadable(f"its metadata holds a {type(value).__name__}, which JSON has no form for")

    def _text(self, value: str) -> str:
        check_storable(value)
        return value


def _representable(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise Unreadable("its metadata holds a whole number of more than 64 bits")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Unreadable(f"its metadata holds {value}, which is not a number in JSON")
    return value
