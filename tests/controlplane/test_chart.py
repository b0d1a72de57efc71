"""The chart in a real API server: every object is taken; an operator without a ClusterRole serves its namespaces."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from e2e.chart import CHART, helm, render
from e2e.cluster.audit import AuditEvent, describe, user_of
from e2e.cluster.cluster import Cluster, Completed
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.kube_rest import KubeRest
from e2e.cluster.process_node import ProcessNode
from e2e.cluster.waiting import wait_until
from e2e.programs import PROGRAMS, ROOT
from e2e.stack import database_secret
from sibyl_operator.api.crd import custom_resource_definition
from sibyl_operator.api.group import CRD_NAME
from sibyl_operator.rbac import WORKSPACE_GRANTS
from sibyl_operator.yaml_text import dump_all
from tests.support.postgres import PostgresServer

Kubectl = Callable[..., Completed]

EVERYTHING = yaml.safe_load((ROOT / "tests/chart/values/everything.yaml").read_text())
STRICT = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
RELEASE = "chart"
OPERATOR = "chart-sibyl-operator"
SYSTEM, SERVED, OTHER = "chart-system", "chart-served", "chart-other"
CHILDREN = "serviceaccount,configmap,deployment,service,hpa,pdb"


def values_for(served: str) -> dict[str, dict[str, Any]]:
    return {
        "defaults": {},
        "namespaced": {"watch": {"namespaces": [served]}},
        # The kind of the ServiceMonitor is not there; that it is found where it is, is shown further down.
        "everything": {**EVERYTHING, "metrics": {**EVERYTHING["metrics"], "serviceMonitor": {"mode": "Never"}}},
    }


@pytest.mark.parametrize("case", ["defaults", "namespaced", "everything"])
def test_the_api_server_takes_every_object_of_the_chart(kubectl: Kubectl, namespace: str, case: str) -> None:
    # Without the pod of `helm test`: a dry run makes no account for it. It is admitted in the next test.
    made = render(values_for(namespace)[case], namespace=namespace, options=["--skip-tests"])
    done = kubectl("apply", *STRICT, "-f", "-", input=dump_all(made))
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(made)


@pytest.mark.parametrize("case", ["defaults", "everything"])
def test_every_pod_of_the_chart_is_admitted_where_only_restricted_pods_are(
    control_plane: Cluster, kubectl: Kubectl, namespace: str, case: str
) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    made = render(values_for(namespace)[case], namespace=namespace)
    pods = [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Deployment"]
    pods += [each["spec"] for each in made if each["kind"] == "Pod"]
    assert len(pods) == 2
    kubectl("-n", namespace, "create", "serviceaccount", pods[0]["serviceAccountName"])
    with control_plane.rest() as api:
        for spec in pods:
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}
            assert api.post(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)["kind"] == "Pod"


def test_a_cluster_that_knows_service_monitors_gets_one(
    control_plane: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    def planned() -> set[str]:
        done = helm(
            "install", "probe", CHART, "--namespace", namespace, "--kubeconfig", control_plane.kubeconfig,
            "--dry-run=server", "--output", "json", "--take-ownership",
        )  # fmt: skip
        return {made["kind"] for made in yaml.safe_load_all(json.loads(done.stdout)["manifest"]) if made}

    assert "ServiceMonitor" not in planned()
    kubectl("apply", "-f", "-", input=yaml.safe_dump(service_monitors()))
    try:
        kubectl("wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com")
        wait_until(lambda: "ServiceMonitor" in planned(), what="the new kind to be discovered", timeout=30)
    finally:
        kubectl("delete", "crd", "servicemonitors.monitoring.coreos.com")


def service_monitors() -> dict[str, Any]:
    """The kind of the Prometheus operator, as far as its name."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@dataclass(frozen=True)
class Installed:
    """The operator for one namespace, installed by Helm and running, and what was asked of the API server meanwhile."""

    control_plane: ControlPlane
    node: ProcessNode
    account: str
    since: int

    def requests(self) -> list[AuditEvent]:
        """Every finished request of the operator."""
        return [event for event in self.control_plane.audit_events(self.since) if user_of(event) == self.account]

    def get(self, namespace: str, *arguments: str) -> Any:
        """`kubectl get ... -o json`, read."""
        return json.loads(self.control_plane.kubectl("-n", namespace, "get", *arguments, "-o", "json").stdout)


@pytest.fixture(scope="module")
def installed(control_plane: Cluster) -> Iterator[Installed]:
    """`watch.namespaces` with one namespace; in another one there is a workspace too."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("NOT RUN: needs a control plane of our own, and USE_EXISTING_CLUSTER is set")
    for name in (SYSTEM, SERVED, OTHER):
        control_plane.kubectl("create", "namespace", name)
    crd = dump_all([custom_resource_definition()])
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=crd)
    control_plane.wait(f"crd/{CRD_NAME}", for_="condition=Established")
    since = control_plane.audit_position()
    with ProcessNode(control_plane.kubeconfig, programs=PROGRAMS, namespaces=[SYSTEM], name="chart-node") as node:
        install(control_plane)
        control_plane.wait(f"deployment/{OPERATOR}", for_="condition=Available", namespace=SYSTEM)
        yield Installed(control_plane, node, f"system:serviceaccount:{SYSTEM}:{OPERATOR}", since)
        for name in (SERVED, OTHER):
            control_plane.kubectl("-n", name, "delete", "swk", "--all")
        for name in (SYSTEM, SERVED, OTHER):
            control_plane.kubectl("delete", "namespace", name, "--wait=false")


def install(cluster: Cluster) -> None:
    """As a team does it that has one namespace: the CRD is an administrator's."""
    values = {
        "watch": {"namespaces": [SERVED]},
        "crds": {"enabled": False},
        "settings": {"scrapeInterval": 1, "waitingInterval": 0.5},
    }
    helm(
        "install", RELEASE, CHART, "--namespace", SYSTEM, "--kubeconfig", cluster.kubeconfig, "--values", "-",
        values=values,
    )  # fmt: skip


def workspace(namespace: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "sibyl.dev/v1alpha1",
            "kind": "SibylWorkspace",
            "metadata": {"name": "docs", "namespace": namespace},
            "spec": {
                "workspace": {"name": "docs"},
                "runtime": {"replicas": 1},
                "database": {"provider": "External", "external": {"secretRef": {"name": "db"}}},
            },
        }
    )


@pytest.fixture(scope="module")
def reconciled(installed: Installed) -> Iterator[Installed]:
    """A workspace in each namespace; the one that is served has been looked at to the end."""
    database = PostgresServer()
    try:
        cluster = installed.control_plane
        secret = database_secret("db", database.create_database())
        for namespace in (OTHER, SERVED):
            cluster.kubectl("-n", namespace, "apply", "-f", "-", input=secret)
            cluster.apply(workspace(namespace))
        cluster.wait("swk/docs", for_="condition=DatabaseReady", namespace=SERVED)
        yield installed
    finally:
        database.close()


def test_nothing_of_the_whole_cluster_was_installed(installed: Installed) -> None:
    for kind in ("clusterrole", "clusterrolebinding"):
        found = installed.control_plane.kubectl(
            "get", kind, "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name"
        )
        assert found.stdout == ""


def test_the_workspace_of_the_namespace_is_served(reconciled: Installed) -> None:
    children = reconciled.get(SERVED, CHILDREN, "-l", "sibyl.dev/workspace=docs")["items"]
    assert {"ConfigMap", "Deployment", "Service", "ServiceAccount"} <= {child["kind"] for child in children}
    found = reconciled.get(SERVED, "swk", "docs")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


def test_the_workspace_of_another_namespace_is_not_touched(reconciled: Installed) -> None:
    assert "status" not in reconciled.get(OTHER, "swk", "docs")
    assert reconciled.get(OTHER, CHILDREN, "-l", "sibyl.dev/workspace=docs")["items"] == []


def test_no_request_of_the_operator_was_refused_and_none_left_its_namespaces(reconciled: Installed) -> None:
    def told() -> bool:
        return any(event.get("objectRef", {}).get("subresource") == "status" for event in reconciled.requests())

    wait_until(told, what="the audit log to tell of the status", timeout=30)
    requests = reconciled.requests()
    of_objects = [event for event in requests if "objectRef" in event]
    assert [describe(event) for event in requests if event["responseStatus"]["code"] in (401, 403)] == []
    outside = [event for event in of_objects if event["objectRef"].get("namespace") not in (SYSTEM, SERVED)]
    assert [describe(event) for event in outside] == []


def test_the_rights_that_only_the_watcher_uses_are_used(reconciled: Installed) -> None:
    """tests/operator/reconcile/test_rights.py counts the calls of the client, and takes the watches for granted."""
    granted = {(grant.group, grant.resource) for grant in WORKSPACE_GRANTS if "watch" in grant.verbs}

    def watched() -> set[tuple[str, str]]:
        watches = [event["objectRef"] for event in reconciled.requests() if event["verb"] == "watch"]
        return {(found.get("apiGroup", ""), found["resource"]) for found in watches}

    wait_until(lambda: watched() >= granted, what="every granted watch to be in the audit log", timeout=30)
    assert watched() == granted


def test_the_operators_account_may_do_what_it_needs_there_and_nothing_anywhere_else(reconciled: Installed) -> None:
    def may(verb: str, resource: str, within: str) -> bool:
        resource, _, subresource = resource.partition("/")
        answer = reconciled.control_plane.kubectl(
            "auth", "can-i", verb, resource, f"--subresource={subresource}", "--namespace", within,
            f"--as={reconciled.account}", check=False,
        )  # fmt: skip
        return answer.stdout.strip() == "yes"

    for grant in WORKSPACE_GRANTS:
        kind, slash, subresource = grant.resource.partition("/")
        full = f"{kind}.{grant.group}{slash}{subresource}" if grant.group else grant.resource
        assert may(grant.verbs[0], full, SERVED), grant
        for elsewhere in (OTHER, "kube-system"):
            assert not may(grant.verbs[0], full, elsewhere), (grant, elsewhere)
    for verb, resource in DENIED:
        assert not may(verb, resource, SERVED), (verb, resource)


DENIED = (
    ("list", "secrets"),
    ("watch", "secrets"),
    ("create", "pods"),
    ("create", "pods/exec"),
    ("update", "sibylworkspaces.sibyl.dev"),
    ("delete", "sibylworkspaces.sibyl.dev"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("get", "nodes"),
)


def test_the_check_of_helm_test_is_content_with_it_and_names_what_it_may_not_see(reconciled: Installed) -> None:
    cluster = reconciled.control_plane
    account = cluster.kubeconfig_for_service_account(SYSTEM, OPERATOR)
    pods = reconciled.get(SYSTEM, "pods", "-l", "app.kubernetes.io/component=operator")["items"]
    assert len(pods) == 2
    address = f"http://{pods[0]['status']['podIP']}:8080"

    def check(*namespaces: str) -> Completed:
        command = [PROGRAMS["sibyl-operator"], "check", "--url", address, "--kubeconfig", account, "--timeout", "5"]
        options = [option for name in namespaces for option in ("--namespace", name)]
        return subprocess.run([*map(str, command), *options], capture_output=True, text=True, check=False, timeout=60)

    assert check(SERVED).returncode == 0
    everywhere = check()
    assert everywhere.returncode == 1
    assert f"FAILED  {CRD_NAME} in all namespaces: " in everywhere.stdout


def test_uninstalling_leaves_the_crd_the_workspaces_and_what_serves_them(reconciled: Installed) -> None:
    cluster = reconciled.control_plane
    before = reconciled.get(SERVED, "deployment", "docs-runtime")["metadata"]["uid"]
    helm("uninstall", RELEASE, "--namespace", SYSTEM, "--kubeconfig", cluster.kubeconfig)
    assert cluster.kubectl("-n", SYSTEM, "get", "deployment", OPERATOR, check=False).returncode != 0
    assert reconciled.get(SERVED, "swk", "docs")["status"]
    assert reconciled.get(SERVED, "deployment", "docs-runtime")["metadata"]["uid"] == before
    install(cluster)
    cluster.wait(f"deployment/{OPERATOR}", for_="condition=Available", namespace=SYSTEM)
    assert reconciled.get(SERVED, "deployment", "docs-runtime")["metadata"]["uid"] == before


def test_a_crd_of_the_chart_outlives_it_and_is_taken_over_by_the_next_one(
    control_plane: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    options = ("--namespace", namespace, "--kubeconfig", control_plane.kubeconfig)
    install_it = ("install", "keeper", CHART, *options, "--take-ownership", "--values", "-")
    for _ in range(2):
        helm(*install_it, values={"replicas": 1})
        uid = kubectl("get", "crd", CRD_NAME, "-o", "jsonpath={.metadata.uid}").stdout
        helm("uninstall", "keeper", *options)
        assert kubectl("get", "crd", CRD_NAME, "-o", "jsonpath={.metadata.uid}").stdout == uid
    with control_plane.rest() as api:
        assert_no_release(api, namespace)


def assert_no_release(api: KubeRest, namespace: str) -> None:
    """Helm keeps its releases in Secrets."""
    secrets = api.get(f"/api/v1/namespaces/{namespace}/secrets")["items"]
    assert [each["metadata"]["name"] for each in secrets if "helm" in each["metadata"]["name"]] == []
