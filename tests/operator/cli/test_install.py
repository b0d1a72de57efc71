"""What installs the operator, for the whole cluster or for some namespaces."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sibyl_operator.install import Installation, installation, installation_text
from sibyl_operator.process import Settings
from sibyl_operator.rbac import WORKSPACE_GRANTS

CLUSTER = Installation()
SOME = Installation(serves=("team-a", "team-b"))


def objects(plan: Installation) -> dict[tuple[str, str | None, str], dict[str, Any]]:
    return {
        (manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"]): manifest
        for manifest in installation(plan)
    }


def container(plan: Installation) -> dict[str, Any]:
    pod: dict[str, Any] = objects(plan)["Deployment", "sibyl-system", "sibyl-operator"]["spec"]["template"]["spec"]
    return {**pod["containers"][0], "pod": pod}


def environment(plan: Installation) -> dict[str, str]:
    """The environment as the pod will have it."""
    fields = {"metadata.name": "sibyl-operator-1", "metadata.namespace": "sibyl-system"}
    return {
        entry["name"]: entry.get("value") or fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in container(plan)["env"]
    }


def test_objects_come_in_the_order_in_which_they_have_to_be_made() -> None:
    assert [manifest["kind"] for manifest in installation(CLUSTER)] == [
        "Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role",
        "RoleBinding", "Deployment",
    ]  # fmt: skip


def test_for_some_namespaces_no_right_reaches_the_whole_cluster() -> None:
    found = objects(SOME)
    assert not {"ClusterRole", "ClusterRoleBinding"} & {kind for kind, _, _ in found}
    for namespace in SOME.serves:
        rules = found["Role", namespace, "sibyl-operator"]["rules"]
        assert rules == [grant.rule() for grant in WORKSPACE_GRANTS]
        binding = found["RoleBinding", namespace, "sibyl-operator"]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "sibyl-operator", "namespace": "sibyl-system"}
        ]
        assert binding["roleRef"]["kind"] == "Role"


@pytest.mark.parametrize("plan", [CLUSTER, SOME], ids=["cluster", "namespaces"])
def test_every_binding_binds_a_role_that_is_there_to_an_account_that_is_there(plan: Installation) -> None:
    found = objects(plan)
    bindings = [manifest for (kind, _, _), manifest in found.items() if kind.endswith("Binding")]
    assert bindings
    for binding in bindings:
        namespace = binding["metadata"].get("namespace")
        assert (binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"]) in found
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in found


@pytest.mark.parametrize(("plan", "served"), [(CLUSTER, ()), (SOME, ("team-a", "team-b"))])
def test_the_environment_of_the_pod_is_one_that_the_process_reads(plan: Installation, served: tuple[str, ...]) -> None:
    settings = Settings.from_environment(environment(plan))
    assert settings.namespaces == served
    assert settings.lease_namespace == "sibyl-system"
    assert settings.lease_name == "sibyl-operator"
    port = container(plan)["ports"][0]["containerPort"]
    assert settings.http_port == port
    assert container(plan)["pod"]["terminationGracePeriodSeconds"] > settings.shutdown_grace


def test_the_lease_of_the_process_is_the_one_that_the_role_names() -> None:
    rules = objects(CLUSTER)["Role", "sibyl-system", "sibyl-operator-leases"]["rules"]
    settings = Settings.from_environment(environment(CLUSTER))
    assert rules[1]["resourceNames"] == [settings.lease_name]


def test_the_operators_pod_keeps_the_restricted_pod_security_standard() -> None:
    found = container(CLUSTER)
    assert found["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert found["pod"]["securityContext"]["runAsNonRoot"] is True
    assert found["pod"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["resources"]["limits"].keys() == {"memory"}
    labels = objects(CLUSTER)["Namespace", None, "sibyl-system"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_probes_ask_what_the_process_answers() -> None:
    found = container(CLUSTER)
    assert found["command"] == ["sibyl-operator", "run"]
    assert found["livenessProbe"]["httpGet"]["path"] == found["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert found["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_selectors_carry_no_version() -> None:
    spec = objects(CLUSTER)["Deployment", "sibyl-system", "sibyl-operator"]["spec"]
    assert "app.kubernetes.io/version" not in spec["selector"]["matchLabels"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("plan", [CLUSTER, SOME], ids=["cluster", "namespaces"])
def test_the_text_is_the_objects_with_reasons(plan: Installation) -> None:
    text = installation_text(plan)
    assert tuple(yaml.safe_load_all(text)) == installation(plan)
    assert "# credentials: those that a workspace names" in text


def test_another_place_and_image_are_taken() -> None:
    plan = Installation(namespace="ops", image="example.com/operator:2", replicas=1)
    found = objects(plan)
    assert found["Deployment", "ops", "sibyl-operator"]["spec"]["replicas"] == 1
    assert found["Deployment", "ops", "sibyl-operator"]["spec"]["template"]["spec"]["containers"][0]["image"] == (
        "example.com/operator:2"
    )
    assert found["ClusterRoleBinding", None, "sibyl-operator"]["subjects"][0]["namespace"] == "ops"
