"""What the API server does with an object and a structural schema, for those who have no API server at hand.

Unknown fields are found (the server prunes them, or refuses them under strict field validation), and so are references
that stand where the schema wants a number, a truth value or one of a few words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sibyl_operator.api.schema import PRESERVE, Schema

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class UnknownField:
    """A field that the schema does not have; `known` are the names that stand at its place."""

    location: Location
    known: tuple[str, ...]


def prune(schema: Schema, value: Any) -> tuple[Any, tuple[UnknownField, ...]]:
    """`value` without the fields that `schema` does not know, and what they were."""
    unknown: list[UnknownField] = []
    return _pruned(schema, value, (), unknown), tuple(unknown)


def _pruned(schema: Schema, value: Any, at: Location, unknown: list[UnknownField]) -> Any:
    if isinstance(value, list):
        items = schema.get("items", {PRESERVE: True})
        return [_pruned(items, item, (*at, index), unknown) for index, item in enumerate(value)]
    if not isinstance(value, Mapping) or not {"properties", "additionalProperties"} & schema.keys():
        return value
    kept: dict[str, Any] = {}
    for name, held in value.items():
        below = _child(schema, name)
        if below is None:
            unknown.append(UnknownField((*at, name), tuple(sorted(schema.get("properties", {})))))
        else:
            kept[name] = _pruned(below, held, (*at, name), unknown)
    return kept


def _child(schema: Schema, name: str) -> Schema | None:
    if name in schema.get("properties", {}):
        found: Schema = schema["properties"][name]
        return found
    if "additionalProperties" in schema:
        additional: Schema = schema["additionalProperties"]
        return additional
    return {PRESERVE: True} if schema.get(PRESERVE) else None


def leaves(schema: Schema, value: Any, at: Location = ()) -> Iterator[tuple[Location, Schema, Any]]:
    """Every value that is neither list nor map, with its place and the schema of that place."""
    if isinstance(value, Mapping):
        for name, held in value.items():
            yield from leaves(_child(schema, name) or {PRESERVE: True}, held, (*at, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(schema.get("items", {PRESERVE: True}), item, (*at, index))
    else:
        yield at, schema, value
