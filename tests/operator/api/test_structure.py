"""Pruning and walking by a structural schema, as the API server does it."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.api.structure import UnknownField, leaves, prune

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "size": {"type": "integer"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "named": {"type": "object", "additionalProperties": {"properties": {"on": {"type": "boolean"}}}},
        "items": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kept", "unknown"),
    [
        ({"size": 1}, {"size": 1}, []),
        ({"sise": 1}, {}, [UnknownField(("sise",), ("free", "items", "named", "size"))]),
        ({"free": {"any": {"thing": 1}}}, {"free": {"any": {"thing": 1}}}, []),
        (
            {"named": {"a": {"on": True, "of": 1}}},
            {"named": {"a": {"on": True}}},
            [UnknownField(("named", "a", "of"), ("on",))],
        ),
        ({"items": [{"id": "x", "ix": 1}]}, {"items": [{"id": "x"}]}, [UnknownField(("items", 0, "ix"), ("id",))]),
        ({"size": {"not": "an integer"}}, {"size": {"not": "an integer"}}, []),
    ],
)
def test_only_fields_that_the_schema_has_are_kept(value: Any, kept: Any, unknown: list[UnknownField]) -> None:
    assert prune(SCHEMA, value) == (kept, tuple(unknown))


def test_pruning_leaves_its_input_alone() -> None:
    value = {"named": {"a": {"of": 1}}}
    prune(SCHEMA, value)
    assert value == {"named": {"a": {"of": 1}}}


def test_every_leaf_is_met_with_the_schema_of_its_place() -> None:
    value = {"size": "5", "named": {"a": {"on": False}}, "items": [{"id": "x"}], "free": {"deep": [1]}, "odd": {"x": 2}}
    found = [(location, schema.get("type"), leaf) for location, schema, leaf in leaves(SCHEMA, value)]
    assert found == [
        (("size",), "integer", "5"),
        (("named", "a", "on"), "boolean", False),
        (("items", 0, "id"), "string", "x"),
        (("free", "deep", 0), None, 1),
        (("odd", "x"), None, 2),
    ]
