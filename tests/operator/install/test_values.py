"""The values of the chart: one model, and the three files that are made of it agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic.alias_generators import to_snake

from sibyl_operator.install.values import ChartValues
from sibyl_operator.install.values import Settings as SettingValues
from sibyl_operator.install.values_files import default_values, values_schema, values_table, values_yaml
from sibyl_operator.process import Settings

SCHEMA = json.loads(values_schema())
VALIDATOR = Draft202012Validator(SCHEMA)
# What the chart itself decides, from the pod, the release or watch.namespaces.
OF_THE_CHART = {
    "namespaces", "kubeconfig", "leader_elect", "lease_namespace", "lease_name", "identity", "http_host", "http_port",
}  # fmt: skip


def objects(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a map."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, value in node.items():
            yield from objects(value, f"{path}/{key}")


def leaves(values: Any, path: str = "") -> Iterator[str]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path


def test_the_yaml_is_the_defaults_of_the_model() -> None:
    assert yaml.safe_load(values_yaml()) == default_values()
    assert ChartValues.model_validate(default_values()) == ChartValues()


def test_there_is_a_comment_above_every_value() -> None:
    lines = [line for line in values_yaml().splitlines() if line.strip()]
    ours = {field.alias for field in ChartValues.model_fields.values()}
    for above, line in pairwise(lines):
        if re.match(r"\w+:", line) and line.split(":")[0] in ours:
            assert above.startswith("# "), line


def test_the_schema_is_one_and_takes_the_defaults() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(default_values())


def test_every_map_of_the_schema_is_closed_or_has_typed_values() -> None:
    found = {path: schema for path, schema in objects(SCHEMA) if path != "/properties/global"}
    assert len(found) > 40
    for path, schema in found.items():
        closed = schema.get("additionalProperties")
        assert closed is False or (isinstance(closed, dict) and closed["type"] == "string"), path


def groups(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from groups(value, (*path, key))


@pytest.mark.parametrize("path", list(groups(default_values())), ids=".".join)
def test_an_unknown_key_is_refused_at_every_level(path: tuple[str, ...]) -> None:
    values = default_values()
    group = values
    for key in path:
        group = group[key]
    group["typingError"] = 1
    messages = [error.message for error in VALIDATOR.iter_errors(values)]
    assert len(messages) == 1
    assert "'typingError' was unexpected" in messages[0]


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 0},
        {"watch": {"namespaces": ["Not_A_Name"]}},
        {"image": {"digest": "latest"}},
        {"affinity": {"nodeAffinity": {"requiredDuringScheduling": {}}}},
        {"tolerations": [{"key": "a", "efect": "NoSchedule"}]},
        {"resources": {"limits": {"memory": "lots"}}},
        {"metrics": {"serviceMonitor": {"mode": "maybe"}}},
        {"settings": {"workers": "many"}},
        {"networkPolicy": {"apiServerPorts": []}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_wrong_value_is_refused(values: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors(values))


def test_values_of_a_parent_chart_are_no_unknown_key() -> None:
    VALIDATOR.validate({"global": {"imageRegistry": "x"}})


def test_the_settings_are_those_of_the_process_with_its_defaults() -> None:
    process = {field.name: getattr(Settings(), field.name) for field in fields(Settings)}
    ours = SettingValues().model_dump(by_alias=False)
    said = {name: value for name, value in ours.items() if value != ""}
    assert {name: process[name] for name in said} == said
    assert set(ours) == set(process) - set(OF_THE_CHART)
    # The template makes the variable from the key: snake case, in capitals.
    assert {to_snake(key) for key in default_values()["settings"]} == set(ours)


def test_the_table_has_a_row_with_a_meaning_for_every_value() -> None:
    rows = [line.split(" | ") for line in values_table().splitlines()[2:]]
    named = [row[0].strip("| `") for row in rows]
    assert all(len(row) == 3 and len(row[2]) > 5 for row in rows)
    for leaf in leaves(default_values()):
        assert any(leaf == name or leaf.startswith(f"{name}.") for name in named), leaf
