"""The models of spec: what they take, what they refuse, and with which sentence."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sibyl_operator.api.models import Autoscaling, Cache, RuntimeSpec, SibylWorkspaceSpec
from tests.operator.api.facts import body, problems, resource

EXTERNAL = {"secretRef": {"name": "docs-database"}}


def test_a_minimal_spec_gets_the_defaults_of_the_guide() -> None:
    spec = SibylWorkspaceSpec.model_validate(
        {"workspace": {}, "database": {"provider": "External", "external": EXTERNAL}}
    )
    assert spec.runtime == RuntimeSpec()
    assert spec.cache == Cache()
    assert spec.cache.provider == "None"
    assert spec.suspend is False
    assert Autoscaling() == Autoscaling(
        min_replicas=3, max_replicas=20, target_cpu_utilization=70, target_memory_utilization=80
    )
    assert spec.runtime.resources.requests.model_dump() == {"cpu": "1", "memory": "384Mi"}
    assert spec.runtime.resources.limits.model_dump(exclude_none=True) == {"memory": "640Mi"}


def test_fields_are_camel_case_outside() -> None:
    assert Autoscaling().model_dump() == {
        "minReplicas": 3,
        "maxReplicas": 20,
        "targetCPUUtilization": 70,
        "targetMemoryUtilization": 80,
        "behavior": None,
    }


def test_a_model_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Autoscaling().min_replicas = 5  # type: ignore[misc]  # the plugin knows that it is frozen; so must the model


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"runtime": {"autoscaling": {"minReplicas": 5, "maxReplicas": 3}}},
        ["spec.runtime.autoscaling.minReplicas: minReplicas 5 is above maxReplicas 3"],
    ),
    (
        {"runtime": {"replicas": 2, "autoscaling": {}}},
        ["spec.runtime: replicas and autoscaling exclude each other; remove one of them"],
    ),
    ({"runtime": {"replicas": "2"}}, ["spec.runtime.replicas: should be a whole number, found '2'"]),
    ({"runtime": {"replicas": 201}}, ["spec.runtime.replicas: should be less than or equal to 200, found 201"]),
    ({"suspend": 1}, ["spec.suspend: should be true or false, found 1"]),
    (
        {"database": {"provider": "CloudNativePG"}},
        [
            "spec.database.provider: database.provider CloudNativePG is not available in this version; use External "
            "or Builtin"
        ],
    ),
    (
        {"cache": {"provider": "Builtin", "memory": "8Mi"}},
        ["spec.cache.memory: cache.memory 8Mi is too little for Redis itself; give it 32Mi or more"],
    ),
    (
        {"cache": {"provider": "None", "memory": "1Gi"}},
        ["spec.cache.memory: cache.memory belongs to provider Builtin; remove it, or set cache.provider Builtin"],
    ),
    (
        {"database": {"provider": "External"}},
        ["spec.database: database.provider External needs database.external.secretRef"],
    ),
    (
        {"cache": {"provider": "None", "external": {"secretRef": {"name": "redis"}}}},
        ["spec.cache.external: cache.external belongs to provider External; remove it, or set cache.provider External"],
    ),
    (
        {"runtime": {"env": [{"name": "A", "value": "x"}, {"name": "A", "value": "y"}]}},
        ["spec.runtime.env: holds A more than once"],
    ),
    (
        {"runtime": {"podTemplate": {"labels": {"not a name": "x"}}}},
        [
            'spec.runtime.podTemplate.labels["not a name"]: should be a name of letters, digits, -, _ and ., '
            "maybe with a domain and / before it, found 'not a name'"
        ],
    ),
    (
        {"runtime": {"podTemplate": {"nodeSelector": {"zone": "a b"}}}},
        [
            "spec.runtime.podTemplate.nodeSelector.zone: should be the value of a label: letters, digits, -, _ and ., "
            "found 'a b'"
        ],
    ),
    ({"runtime": {"env": {}}}, ["spec.runtime.env: should be a list"]),
    ({"runtime": {"image": 5}}, ["spec.runtime.image: should be text, found 5"]),
    ({"runtime": None}, ["spec.runtime: should be a mapping"]),
]


@pytest.mark.parametrize(("spec", "expected"), REFUSED, ids=[said[0].partition(":")[0] for _, said in REFUSED])
def test_a_breach_is_said_with_its_place_and_what_to_do(spec: dict[str, Any], expected: list[str]) -> None:
    assert problems(body(**spec)) == expected


def test_several_breaches_of_one_model_are_all_said() -> None:
    found = problems(body(runtime={"env": [{"name": "SIBYL_HOST"}]}))
    assert found == [
        "spec.runtime.env[0]: env SIBYL_HOST needs exactly one of value, secretKeyRef, configMapKeyRef",
        "spec.runtime.env[0].name: env SIBYL_HOST is set by the operator; use spec.database for DATABASE_URL, "
        "spec.cache for REDIS_URL, and another name for your own",
    ]


def test_an_empty_value_is_a_source() -> None:
    assert resource(runtime={"env": [{"name": "EMPTY", "value": ""}]}).spec.runtime.env[0].value == ""
