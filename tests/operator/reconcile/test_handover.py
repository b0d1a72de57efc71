"""The handover of replicas: only when we hold the field, only what it is now, only while nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.reconcile.handover import handover, lets_go_of_replicas


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "team"},
        "spec": spec,
    }


def held(manager: str = "sibyl-operator", operation: str = "Apply", *fields: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {field: {} for field in fields}}}


def live(*managers: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "team", "uid": "u", "resourceVersion": "7", "managedFields": [*managers]}
    return {**deployment(replicas=5), "metadata": metadata, "status": {"replicas": 5}}


OURS = held("sibyl-operator", "Apply", "f:replicas", "f:template")


def test_the_present_number_is_taken_over_under_the_version_that_was_read() -> None:
    assert handover(deployment(), live(OURS)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "team", "uid": "u", "resourceVersion": "7"},
        "spec": {"replicas": 5},
    }


@pytest.mark.parametrize(
    "managers",
    [
        (),
        (held("sibyl-operator", "Apply", "f:template"),),
        (held("sibyl-operator", "Update", "f:replicas"),),
        (held("kube-controller-manager", "Update", "f:replicas"),),
        ({"manager": "sibyl-operator", "operation": "Apply"},),
    ],
)
def test_what_we_do_not_hold_is_not_handed_over(managers: tuple[dict[str, Any], ...]) -> None:
    assert handover(deployment(), live(*managers)) is None


def test_a_deployment_of_fixed_size_hands_nothing_over() -> None:
    assert handover(deployment(replicas=3), live(OURS)) is None
    assert not lets_go_of_replicas(deployment(replicas=0))
    assert not lets_go_of_replicas({"kind": "Service", "spec": {}})
    assert lets_go_of_replicas(deployment())
