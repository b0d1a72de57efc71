"""The CRD in a real API server: what it takes, what it refuses and with which words, its defaults, its columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.cluster import Cluster, Completed
from e2e.cluster.kube_rest import ApiError, KubeRest
from sibyl_operator.api.conditions import conditions
from sibyl_operator.api.crd import custom_resource_definition
from sibyl_operator.api.group import CRD_NAME
from sibyl_operator.api.models import SibylWorkspaceSpec
from sibyl_operator.api.reading import unknown_field_problem
from sibyl_operator.api.resource import InvalidResource, WorkspaceResource, read_resource, unknown_fields
from sibyl_operator.api.status import status
from sibyl_operator.desired import desired
from sibyl_operator.kube import kind_of
from sibyl_operator.reconcile.difference import difference
from sibyl_operator.yaml_text import dump_all
from tests.operator.api.facts import observed

CORPUS = Path(__file__).parent / "crd_corpus"
SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
INVALID = sorted((CORPUS / "invalid").glob("*.yaml"))
VALID = [*sorted((CORPUS / "valid").glob("*.yaml")), *sorted(SAMPLES.glob("*.yaml"))]
APPLY = "application/apply-patch+yaml"
Kubectl = Callable[..., Completed]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def name(path: Path) -> str:
    return path.stem


@pytest.fixture(scope="module")
def api(control_plane: Cluster) -> Iterator[KubeRest]:
    """An API server that has the CRD."""
    control_plane.kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", input=dump_all([custom_resource_definition()])
    )
    control_plane.wait(f"crd/{CRD_NAME}", for_="condition=Established")
    with control_plane.rest() as rest:
        yield rest


def collection(namespace: str, query: str = "") -> str:
    return f"/apis/sibyl.dev/v1alpha1/namespaces/{namespace}/sibylworkspaces{query}"


# Nothing is stored, so one namespace serves all of these.
DRY = "?dryRun=All&fieldValidation=Strict"
TRIED = collection("default", DRY)


def expected(path: Path, kind: str) -> list[str]:
    """What the head of a file of the corpus says about it."""
    lines = (
        line.removeprefix(f"# {kind}: ") for line in path.read_text().splitlines() if line.startswith(f"# {kind}: ")
    )
    return list(lines)


def test_the_definition_is_structural_and_established(api: KubeRest) -> None:
    found = api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD_NAME}")
    held = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert held["Established"] == held["NamesAccepted"] == "True"
    assert held.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_what_is_wrong_is_refused_at_once_with_these_words(api: KubeRest, path: Path) -> None:
    with pytest.raises(ApiError) as caught:
        api.post(TRIED, read(path))
    said = caught.value.message.removeprefix('SibylWorkspace.sibyl.dev "corpus" is invalid: ')
    assert [said] == expected(path, "server")


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_the_operator_refuses_the_same_without_an_api_server(path: Path) -> None:
    body = read(path)
    found = read_resource(body)
    problems = [*map(unknown_field_problem, unknown_fields(body))]
    problems += found.problems if isinstance(found, InvalidResource) else ()
    assert [str(problem) for problem in problems] == expected(path, "operator")
    assert problems


@pytest.mark.parametrize("path", VALID, ids=name)
def test_what_is_right_is_taken_and_the_document_kept_word_for_word(api: KubeRest, path: Path) -> None:
    body = read(path)
    stored = api.post(TRIED, body)
    assert stored["spec"]["workspace"] == body["spec"]["workspace"]
    assert isinstance(read_resource(stored), WorkspaceResource)


@pytest.mark.parametrize("path", VALID, ids=name)
def test_the_server_and_the_models_have_the_same_defaults(api: KubeRest, path: Path) -> None:
    body = read(path)
    stored = api.post(TRIED, body)
    assert SibylWorkspaceSpec.model_validate(stored["spec"]) == SibylWorkspaceSpec.model_validate(body["spec"])


def test_a_minimal_resource_is_stored_with_what_its_defaults_say_and_nothing_empty(api: KubeRest) -> None:
    stored = api.post(TRIED, read(CORPUS / "valid" / "minimal.yaml"))
    assert stored["spec"] == {
        "workspace": {},
        "runtime": {
            "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "1", "memory": "384Mi"}, "limits": {"memory": "640Mi"}},
        },
        "database": {"provider": "External", "external": {"secretRef": {"name": "database", "key": "dsn"}}},
        "cache": {"provider": "None"},
        "deletionPolicy": "Retain",
        "networkPolicy": {"enabled": True},
        "suspend": False,
    }


def test_autoscaling_that_is_written_gets_its_defaults_and_that_which_is_not_stays_away(api: KubeRest) -> None:
    body = read(CORPUS / "valid" / "minimal.yaml")
    body["spec"]["runtime"] = {"autoscaling": {"maxReplicas": 7}}
    assert api.post(TRIED, body)["spec"]["runtime"]["autoscaling"] == {
        "minReplicas": 3,
        "maxReplicas": 7,
        "targetCPUUtilization": 70,
        "targetMemoryUtilization": 80,
    }


def test_the_provider_of_the_database_cannot_be_changed(api: KubeRest, namespace: str) -> None:
    api.post(collection(namespace), read(CORPUS / "valid" / "minimal.yaml"))
    change = {"spec": {"database": {"provider": "Builtin", "external": None}}}
    with pytest.raises(ApiError) as caught:
        api.patch(f"{collection(namespace)}/minimal", change, "application/merge-patch+json")
    assert (
        "spec.database.provider: Invalid value: database.provider cannot be changed, because data does not move by "
        "itself; create a second workspace"
    ) in caught.value.message


@pytest.mark.parametrize("storage", [{"size": "20Gi"}, {"storageClassName": "fast"}])
def test_the_storage_of_the_database_cannot_be_changed(api: KubeRest, namespace: str, storage: dict[str, Any]) -> None:
    body = read(CORPUS / "valid" / "database-builtin.yaml")
    api.post(collection(namespace), body)
    # The default, written out, is no change.
    written = {"spec": {"database": {"storage": {"size": "10Gi"}}}}
    api.patch(f"{collection(namespace)}/corpus", written, "application/merge-patch+json")
    with pytest.raises(ApiError) as caught:
        api.patch(
            f"{collection(namespace)}/corpus", {"spec": {"database": {"storage": storage}}},
            "application/merge-patch+json",
        )  # fmt: skip
    assert (
        "spec.database.storage: Invalid value: database.storage cannot be changed, because a StatefulSet cannot change "
        "its volumes; enlarge its PersistentVolumeClaims themselves, or create a second workspace"
    ) in caught.value.message


def test_other_fields_can_be_changed(api: KubeRest, namespace: str) -> None:
    api.post(collection(namespace), read(CORPUS / "valid" / "minimal.yaml"))
    change = {"spec": {"runtime": {"replicas": 3}, "suspend": True}}
    found = api.patch(f"{collection(namespace)}/minimal", change, "application/merge-patch+json")
    assert (found["spec"]["runtime"]["replicas"], found["spec"]["suspend"]) == (3, True)
    assert found["metadata"]["generation"] == 2


@pytest.mark.parametrize(("place", "key"), [("runtime", "replcas"), ("workspace", "mpc")], ids=["resource", "document"])
def test_server_side_apply_refuses_an_unknown_key(
    kubectl: Kubectl, api: KubeRest, namespace: str, place: str, key: str
) -> None:
    body = read(CORPUS / "valid" / "minimal.yaml")
    body["spec"].setdefault(place, {})[key] = {}
    done = kubectl("-n", namespace, "apply", "--server-side", "-f", "-", input=json.dumps(body), check=False)
    assert done.returncode != 0
    assert f".spec.{place}.{key}: field not declared in schema" in done.stderr


def test_a_client_that_does_not_ask_is_warned_of_what_is_dropped(
    kubectl: Kubectl, api: KubeRest, namespace: str
) -> None:
    body = read(CORPUS / "valid" / "minimal.yaml")
    body["spec"]["workspace"] = {"mpc": {}}
    done = kubectl("-n", namespace, "create", "--validate=warn", "-f", "-", input=json.dumps(body))
    assert 'unknown field "spec.workspace.mpc"' in done.stderr


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("swk.spec", ["workspace", "runtime", "database", "cache", "suspend", "What a RAG service shall be."]),
        ("swk.spec.workspace", ["providers", "pipelines", "mcp", "shops", "observability"]),
        ("swk.spec.workspace.providers", ["llm", "embedding", "vector_store"]),
        ("swk.spec.workspace.providers.llm", ["api_key", "temperature", "openai, extractive"]),
        ("swk.spec.workspace.providers.vector_store", ["hnsw_ef_search", "pool_size", "distance_metric"]),
        ("swk.spec.workspace.pipelines.steps", ["use", "condition", "config"]),
        ("swk.spec.runtime.autoscaling", ["targetCPUUtilization", "minReplicas"]),
        ("swk.status", ["effectiveConfigHash", "kpis", "conditions"]),
    ],
)
def test_kubectl_explains_every_part(kubectl: Kubectl, api: KubeRest, path: str, words: list[str]) -> None:
    told = kubectl("explain", path).stdout
    assert [word for word in words if word not in told] == []


def put_status(api: KubeRest, namespace: str) -> dict[str, Any]:
    """Make a workspace and write the status of a service that is well, as the operator writes it."""
    stored = api.post(collection(namespace), {**read(CORPUS / "valid" / "minimal.yaml")})
    of = observed()
    written = status(of, conditions(of), datetime(2026, 1, 2, tzinfo=UTC))
    body = {key: stored[key] for key in ("apiVersion", "kind")}
    body |= {"metadata": {"name": "minimal", "namespace": namespace}, "status": written}
    query = "?fieldManager=sibyl-operator-status&force=true&fieldValidation=Strict"
    return api.patch(f"{collection(namespace)}/minimal/status{query}", body, APPLY)


def test_every_field_of_the_status_is_kept(api: KubeRest, namespace: str) -> None:
    of = observed()
    assert put_status(api, namespace)["status"] == status(of, conditions(of), datetime(2026, 1, 2, tzinfo=UTC))


def test_the_columns_show_how_the_service_is(kubectl: Kubectl, api: KubeRest, namespace: str) -> None:
    put_status(api, namespace)
    head, line = kubectl("-n", namespace, "get", "swk").stdout.splitlines()
    assert head.split() == ["NAME", "READY", "P95", "RPS", "HIT%", "REPLICAS", "AGE"]
    assert line.split()[:6] == ["minimal", "True", "0.41s", "13", "64", "2/2"]
    head, line = kubectl("-n", namespace, "get", "swk", "-o", "wide").stdout.splitlines()
    assert head.split()[-3:] == ["REASON", "CONFIG", "MESSAGE"]
    assert "Serving" in line


def test_kubectl_waits_for_the_condition(control_plane: Cluster, api: KubeRest, namespace: str) -> None:
    put_status(api, namespace)
    control_plane.wait("swk/minimal", for_="condition=Ready", namespace=namespace, timeout=10)


def test_the_status_is_written_apart_from_the_spec(api: KubeRest, namespace: str) -> None:
    body = {**read(CORPUS / "valid" / "minimal.yaml"), "status": {"effectiveConfigHash": "forged"}}
    assert "status" not in api.post(collection(namespace), body)


@pytest.mark.parametrize("path", VALID, ids=name)
def test_every_child_is_one_that_the_api_server_takes(
    kubectl: Kubectl, api: KubeRest, namespace: str, path: Path
) -> None:
    body = read(path)
    body["metadata"] |= {"namespace": namespace, "uid": "7d6a2f57-9c4e-4b86-8f3c-0c7f6a1d2e11"}
    found = read_resource(body)
    assert isinstance(found, WorkspaceResource)
    made = dump_all(desired(found, {}))
    done = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=made)
    assert done.stderr == ""


@pytest.mark.parametrize("path", VALID, ids=name)
def test_what_the_api_server_makes_of_a_child_is_no_difference(api: KubeRest, namespace: str, path: Path) -> None:
    body = read(path)
    body["metadata"] |= {"namespace": namespace, "uid": "7d6a2f57-9c4e-4b86-8f3c-0c7f6a1d2e11"}
    found = read_resource(body)
    assert isinstance(found, WorkspaceResource)
    query = "?fieldManager=sibyl-operator&force=true&dryRun=All"
    for made in desired(found, {}):
        stored = api.patch(f"{kind_of(made['kind']).path(namespace, made['metadata']['name'])}{query}", made, APPLY)
        assert difference(made, stored) is None, made["kind"]


@pytest.mark.parametrize("path", VALID, ids=name)
def test_every_pod_is_admitted_where_only_restricted_pods_are(
    kubectl: Kubectl, api: KubeRest, namespace: str, path: Path
) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    body = read(path)
    body["metadata"]["namespace"] = namespace
    found = read_resource(body)
    assert isinstance(found, WorkspaceResource)
    workloads = [made for made in desired(found, {}) if made["kind"] in ("Deployment", "StatefulSet")]
    for account in sorted({made["spec"]["template"]["spec"]["serviceAccountName"] for made in workloads}):
        kubectl("-n", namespace, "create", "serviceaccount", account)
    for made in workloads:
        template = made["spec"]["template"]
        claims = [claim["metadata"]["name"] for claim in made["spec"].get("volumeClaimTemplates", ())]
        volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
        spec = {**template["spec"], "volumes": [*template["spec"]["volumes"], *volumes]}
        metadata = {"name": "probe", **template["metadata"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        assert api.post(f"/api/v1/namespaces/{namespace}/pods{DRY}", pod)["kind"] == "Pod"
