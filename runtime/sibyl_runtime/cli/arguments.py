"""Reads `name=value` from the command line. Values are JSON where they can be, and plain text otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import typer


def name_values(given: Iterable[str], *, option: str) -> dict[str, Any]:
    """{"k": 5, "tag": "a"} from ["k=5", "tag=a"]. Raises BadParameter, which typer reports as wrong usage."""
    values: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f'"{text}" is not NAME=VALUE', param_hint=option)
        if name in values:
            raise typer.BadParameter(f'"{name}" is given twice', param_hint=option)
        values[name] = _value(value)
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> None:
    """Python reads NaN and Infinity; JSON has no such values."""
    raise ValueError(constant)
