"""The generated CRD: up to date, within its bounds, and made of what every API server takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from sibyl_operator.api.crd import COLUMNS, custom_resource_definition, resource_schema
from sibyl_operator.api.models import SibylWorkspaceSpec
from sibyl_operator.install.generate import CRD_FILE, HEADER
from sibyl_operator.yaml_text import dump_all
from tests.operator.api.facts import ROOT

CRD = custom_resource_definition()
SCHEMA = resource_schema()
LARGEST = 256 * 1024


def nodes(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below `schema`, with its place."""
    yield place, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{place}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{place}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{place}.*")


NODES = [(place, node) for place, node in nodes(SCHEMA) if place.startswith((".spec", ".status"))]


def test_the_file_in_the_repository_is_the_generated_one() -> None:
    assert (ROOT / CRD_FILE).read_text() == HEADER + dump_all([CRD]), "run make generate"


def test_the_definition_stays_small_enough_for_kubectl_apply() -> None:
    assert len(yaml.safe_dump(CRD)) < LARGEST


def test_every_size_has_an_end() -> None:
    open_ends = [
        place
        for place, node in NODES
        if (node.get("type") == "string" and not {"maxLength", "enum", "format"} & node.keys())
        or (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
        or ("x-kubernetes-int-or-string" in node and "maxLength" not in node)
    ]
    assert open_ends == []


def test_every_named_field_is_described() -> None:
    assert [place for place, node in NODES if place[-1] not in "]*" and not node.get("description")] == []


def test_every_pattern_is_one_that_re2_knows() -> None:
    found = [(place, node["pattern"]) for place, node in NODES if "pattern" in node]
    assert found
    for place, pattern in found:
        assert not re.search(r"\(\?[^:]|\\[1-9]|[*+?}]\+", pattern), f"{place}: {pattern}"
        assert pattern.startswith("^"), place
        assert pattern.endswith("$"), place


def test_there_are_no_floats_beside_the_document() -> None:
    floats = [
        place for place, node in NODES if node.get("type") == "number" and not place.startswith(".spec.workspace.")
    ]
    assert floats == []


def test_every_list_says_how_writers_share_it() -> None:
    shared = {place: node.get("x-kubernetes-list-type") for place, node in NODES if node.get("type") == "array"}
    ours = {place: kind for place, kind in shared.items() if not place.startswith(".spec.workspace.")}
    assert ours == {
        ".spec.imagePullSecrets": "map",
        ".spec.runtime.autoscaling.behavior.scaleDown.policies": "atomic",
        ".spec.runtime.autoscaling.behavior.scaleUp.policies": "atomic",
        ".spec.runtime.env": "map",
        ".spec.runtime.podTemplate.tolerations": "atomic",
        ".status.conditions": "map",
        ".status.kpis.targets": "map",
    }


def test_every_rule_has_a_message() -> None:
    rules = [rule for _, node in NODES for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) >= 16
    assert all(rule["message"] and "\n" not in rule["message"] for rule in rules)


def test_the_provider_of_the_database_cannot_be_changed() -> None:
    rules = SCHEMA["properties"]["spec"]["properties"]["database"]["x-kubernetes-validations"]
    assert "self.provider == oldSelf.provider" in [rule["rule"] for rule in rules]


def test_every_field_of_the_models_is_in_the_schema() -> None:
    assert set(SCHEMA["properties"]["spec"]["properties"]) == {
        to_camel(name) for name in SibylWorkspaceSpec.model_fields
    }


@pytest.mark.parametrize(("name", "kind", "path", "priority", "description"), COLUMNS)
def test_every_column_reads_a_field_that_the_schema_has(
    name: str, kind: str, path: str, priority: int, description: str
) -> None:
    assert priority in (0, 1)
    assert description
    if path.startswith(".metadata"):
        return
    plain = path.replace('[?(@.type=="Ready")]', "[]")
    types = {place: node.get("type") for place, node in NODES}
    assert types[plain] == kind, name


def test_the_columns_are_those_that_people_look_for() -> None:
    assert [name.upper() for name, _, _, priority, _ in COLUMNS if priority == 0] == [
        "READY", "P95", "RPS", "HIT%", "REPLICAS", "AGE",
    ]  # fmt: skip


def test_status_is_a_subresource_and_scale_is_not_offered() -> None:
    (version,) = CRD["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
