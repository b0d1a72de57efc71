"""What the API server makes of children that are changed: by a new spec, by somebody's hand, or beyond what is safe."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.cluster import Cluster, Completed
from e2e.cluster.kube_rest import ApiError, KubeRest
from sibyl_operator.api.resource import WorkspaceResource, read_resource
from sibyl_operator.desired import desired
from sibyl_operator.kube import kind_of
from sibyl_operator.reconcile.children import stamped
from sibyl_operator.reconcile.difference import difference
from tests.operator.api.facts import CORPUS, sources

Kubectl = Callable[..., Completed]
Manifest = dict[str, Any]

APPLY = "application/apply-patch+yaml"
WITH_PODS = ("Deployment", "StatefulSet")


@pytest.fixture(scope="module")
def api(control_plane: Cluster) -> Iterator[KubeRest]:
    with control_plane.rest() as rest:
        yield rest


@pytest.fixture(scope="module")
def restricted(control_plane: Cluster) -> Iterator[str]:
    """A namespace that takes only pods of the strictest level."""
    name = f"restricted-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    try:
        control_plane.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        yield name
    finally:
        control_plane.kubectl("delete", "namespace", name, "--wait=false")


def workspace(body: Manifest, namespace: str) -> WorkspaceResource:
    body["metadata"] = {"name": body["metadata"]["name"], "namespace": namespace, "uid": "uid-1", "generation": 1}
    found = read_resource(body)
    assert isinstance(found, WorkspaceResource)
    return found


def children(path: Path, namespace: str) -> list[Manifest]:
    """The children of a workspace in a file, without the owner that this API server does not have."""
    found = workspace(yaml.safe_load(path.read_text()), namespace)
    made = [stamped(manifest) for manifest in desired(found, sources(found))]
    for manifest in made:
        del manifest["metadata"]["ownerReferences"]
    return made


def apply(api: KubeRest, manifest: Manifest, query: str = "") -> Manifest:
    kind, metadata = kind_of(manifest["kind"]), manifest["metadata"]
    group = f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
    place = f"{group}/namespaces/{metadata['namespace']}/{kind.plural}/{metadata['name']}"
    return api.patch(f"{place}?fieldManager=sibyl-operator&force=true&fieldValidation=Strict{query}", manifest, APPLY)


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict"


def bare_pod(template: Manifest, name: str, namespace: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": name, "namespace": namespace},
        "spec": template["spec"],
    }


def test_a_pod_that_asks_for_more_is_refused_there(api: KubeRest, restricted: str) -> None:
    made = children(CORPUS / "valid" / "cache-builtin.yaml", restricted)
    for manifest in made:
        if manifest["kind"] == "ServiceAccount":
            apply(api, manifest)
    template = next(manifest["spec"]["template"] for manifest in made if manifest["kind"] in WITH_PODS)
    template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(ApiError, match="violates PodSecurity"):
        api.post(pods(restricted), bare_pod(template, "greedy", restricted))


def test_the_password_of_the_cache_stays_before_the_address_that_it_is_part_of(
    api: KubeRest, kubectl: Kubectl, namespace: str
) -> None:
    """A variable sees those before it, also in a list that was merged into an older one."""
    body = yaml.safe_load((CORPUS / "valid" / "cache-builtin.yaml").read_text())
    external = {**body["spec"], "cache": {"provider": "External", "external": {"secretRef": {"name": "redis"}}}}
    for spec in (external, body["spec"]):
        found = workspace({**body, "spec": spec}, namespace)
        manifest = next(made for made in desired(found, sources(found)) if made["kind"] == "Deployment")
        del manifest["metadata"]["ownerReferences"]
        live = apply(api, manifest)
        assert difference(manifest, live) is None
    assert variables(live)[-2:] == ["SIBYL_CACHE_PASSWORD", "REDIS_URL"]
    place = "/spec/template/spec/containers/0/env"
    reversed_list = list(reversed(live["spec"]["template"]["spec"]["containers"][0]["env"]))
    patch = json.dumps([{"op": "replace", "path": place, "value": reversed_list}])
    kubectl("-n", namespace, "patch", "deployment", manifest["metadata"]["name"], "--type=json", "-p", patch)
    assert variables(apply(api, manifest))[-2:] == ["SIBYL_CACHE_PASSWORD", "REDIS_URL"]


def variables(deployment: Manifest) -> list[str]:
    return [variable["name"] for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]]


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_rule_that_somebody_adds_to_a_policy_is_seen_and_taken_out(
    api: KubeRest, kubectl: Kubectl, namespace: str, direction: str
) -> None:
    (policy,) = [
        manifest
        for manifest in children(CORPUS / "valid" / "cache-builtin.yaml", namespace)
        if (manifest["kind"], manifest["metadata"]["name"]) == ("NetworkPolicy", "cached-cache")
    ]
    live = apply(api, policy)
    patch = f'[{{"op": "add", "path": "/spec/{direction}", "value": [{{}}]}}]'
    kubectl("-n", namespace, "patch", "networkpolicy", "cached-cache", "--type=json", "-p", patch)
    place = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/cached-cache"
    assert difference(policy, api.get(place)) == f"spec.{direction}" + ("[0].from" if direction == "ingress" else "")
    assert apply(api, policy)["spec"] == live["spec"]
