"""Of which kind what steps return is, as conditions see it. A result that may be null has the kind of its values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final


class Kind(Enum):
    """Named as messages name it."""

    NUMBER = "a number"
    TEXT = "text"
    TRUTH = "true or false"
    LIST = "a list"
    OBJECT = "an object"
    STREAM = "a stream"
    """Passed on from step to step while documents are loaded. Nothing compares with it; its `count` does."""
    NULL = "null"
    """Of no result as a whole: those that may be null are of the kind of their values."""


SAMPLES: Final[Mapping[Kind, Any]] = MappingProxyType(
    {
        Kind.NUMBER: 1.5,
        Kind.TEXT: "text",
        Kind.TRUTH: True,
        Kind.LIST: [],
        Kind.OBJECT: {},
        Kind.STREAM: object(),
    }
)
"""A value of each kind, by which a condition is judged before it runs."""

CHUNKS: Final = {"chunks": Kind.LIST, "count": Kind.NUMBER, "avg_score": Kind.NUMBER, "top_score": Kind.NUMBER}
SPENT: Final = {"tokens": Kind.NUMBER, "model": Kind.TEXT, "cost_usd": Kind.NUMBER}


def numbers(*names: str) -> dict[str, Kind]:
    """Results that are numbers."""
    return dict.fromkeys(names, Kind.NUMBER)
