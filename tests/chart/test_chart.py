"""The chart: what it installs for the whole cluster and for some namespaces, and what it refuses to render."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.chart import (
    CASES,
    CHART,
    INSTALL_FILE,
    RENDERED,
    ChartError,
    helm,
    render,
    render_text,
    rendered_files,
)
from e2e.programs import ROOT
from sibyl_operator import __version__
from sibyl_operator.api.crd import custom_resource_definition
from sibyl_operator.api.images import DefaultImages
from sibyl_operator.api.resource import InvalidResource, read_resource
from sibyl_operator.process import Settings
from sibyl_operator.rbac import WORKSPACE_GRANTS, lease_grants
from tests.chart.rendered_objects import Found, container, deployment, environment, kinds, objects, pod

RENDERINGS = [INSTALL_FILE, *(f"{RENDERED}/{values.name}" for values in sorted((ROOT / CASES).glob("*.yaml")))]
MONITORED = ("--api-versions", "monitoring.coreos.com/v1/ServiceMonitor")


@pytest.fixture(scope="module")
def cluster() -> Found:
    """The chart with its defaults."""
    return objects()


@pytest.fixture(scope="module")
def some() -> Found:
    """The chart for two namespaces."""
    return objects({"watch": {"namespaces": ["team-a", "team-b"]}})


@pytest.fixture(scope="module", params=["cluster", "some"])
def found(request: pytest.FixtureRequest) -> Found:
    """Both."""
    made: Found = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def renderings() -> dict[str, str]:
    """What the files of the rendered chart must hold."""
    return {str(path.relative_to(ROOT)): text for path, text in rendered_files()}


@pytest.mark.parametrize("path", RENDERINGS)
def test_every_rendering_in_the_repository_is_up_to_date(renderings: dict[str, str], path: str) -> None:
    assert (ROOT / path).read_text() == renderings[path], "run make generate"


def test_there_is_no_rendering_of_anything_else(renderings: dict[str, str]) -> None:
    assert sorted(renderings) == sorted(RENDERINGS)
    kept = [f"{RENDERED}/{path.name}" for path in (ROOT / RENDERED).iterdir()]
    assert sorted(kept) == sorted(set(RENDERINGS) - {INSTALL_FILE})


@pytest.mark.parametrize("values", [None, *sorted((ROOT / "tests/chart/values").glob("*.yaml"))], ids=str)
def test_helm_finds_nothing_to_complain_about(values: Path | None) -> None:
    options = [] if values is None else ["--values", str(values)]
    done = helm("lint", "--strict", CHART, *options, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_has_the_version_of_the_operator() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_the_example_that_the_chart_advertises_is_a_valid_workspace() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (example,) = yaml.safe_load(chart["annotations"]["artifacthub.io/crdsExamples"])
    example["metadata"] |= {"namespace": "default", "uid": "u", "generation": 1}
    assert not isinstance(read_resource(example), InvalidResource)
    (advertised,) = yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])
    crd = custom_resource_definition()
    assert (advertised["name"], advertised["kind"]) == (crd["metadata"]["name"], crd["spec"]["names"]["kind"])


def test_the_crd_is_the_one_of_the_repository_and_stays_when_the_chart_goes(cluster: Found) -> None:
    made = cluster["CustomResourceDefinition", None, "sibylworkspaces.sibyl.dev"]
    assert made["spec"] == custom_resource_definition()["spec"]
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    going = objects({"crds": {"keep": False}})["CustomResourceDefinition", None, "sibylworkspaces.sibyl.dev"]
    assert "annotations" not in going["metadata"]
    assert "CustomResourceDefinition" not in kinds(objects({"crds": {"enabled": False}}))


def test_the_rights_are_those_of_the_table(cluster: Found, some: Found) -> None:
    wanted = [grant.rule() for grant in WORKSPACE_GRANTS]
    assert cluster["ClusterRole", None, "sibyl-operator"]["rules"] == wanted
    assert some["Role", "team-a", "sibyl-operator"]["rules"] == some["Role", "team-b", "sibyl-operator"]["rules"]
    assert some["Role", "team-a", "sibyl-operator"]["rules"] == wanted
    leases = [grant.rule() for grant in lease_grants("sibyl-operator")]
    for found in (cluster, some):
        assert found["Role", "sibyl-system", "sibyl-operator-leases"]["rules"] == leases


def test_for_some_namespaces_no_right_reaches_the_whole_cluster(some: Found) -> None:
    assert not {"ClusterRole", "ClusterRoleBinding"} & kinds(some)
    places = {namespace for kind, namespace, _ in some if kind == "Role"}
    assert places == {"team-a", "team-b", "sibyl-system"}


def test_every_binding_binds_a_role_that_is_there_to_an_account_that_is_there(found: Found) -> None:
    bindings = [manifest for (kind, _, _), manifest in found.items() if kind.endswith("Binding")]
    assert bindings
    for binding in bindings:
        namespace = binding["metadata"].get("namespace")
        assert (binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"]) in found
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in found


def test_the_process_serves_the_namespaces_of_the_values(cluster: Found, some: Found) -> None:
    assert Settings.from_environment(environment(cluster)).namespaces == ()
    assert Settings.from_environment(environment(some)).namespaces == ("team-a", "team-b")


def test_the_environment_of_the_pod_is_one_that_the_process_reads(found: Found) -> None:
    settings = Settings.from_environment(environment(found))
    assert settings.lease_namespace == "sibyl-system"
    assert settings.http_port == container(found)["ports"][0]["containerPort"]
    assert pod(found)["terminationGracePeriodSeconds"] > settings.shutdown_grace
    (names,) = (rule["resourceNames"] for rule in _lease_rules(found) if "resourceNames" in rule)
    assert names == [settings.lease_name]


def _lease_rules(found: Found) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = found["Role", "sibyl-system", "sibyl-operator-leases"]["rules"]
    return rules


def test_every_setting_reaches_the_process() -> None:
    changed = {
        "logLevel": "DEBUG", "logFormat": "text", "workers": 5, "requestTimeout": 31, "leaseDuration": 16,
        "renewDeadline": 11, "retryPeriod": 2.5, "shutdownGrace": 21, "waitingInterval": 0.5, "scrapeInterval": 16,
        "blockedInterval": 61, "resyncInterval": 1000000, "reconcileDeadline": 121, "kpiWindow": 301,
        "runtimeImage": "mirror/runtime:1", "databaseImage": "mirror/postgres:18", "cacheImage": "mirror/redis:8",
    }  # fmt: skip
    assert set(changed) == set(yaml.safe_load((CHART / "values.yaml").read_text())["settings"])
    found = objects({"settings": changed})
    settings = Settings.from_environment(environment(found))
    assert settings.resync_interval == 1_000_000
    assert (settings.log_level, settings.log_format, settings.workers) == ("DEBUG", "text", 5)
    assert (settings.retry_period, settings.waiting_interval, settings.kpi_window) == (2.5, 0.5, 301)
    assert settings.images == DefaultImages("mirror/runtime:1", "mirror/postgres:18", "mirror/redis:8")
    assert pod(found)["terminationGracePeriodSeconds"] == 31


@pytest.mark.parametrize("kind", ["Deployment", "Pod"])
def test_every_pod_keeps_the_restricted_pod_security_standard(found: Found, kind: str) -> None:
    spec = pod(found) if kind == "Deployment" else found["Pod", "sibyl-system", "sibyl-operator-test"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in spec["containers"]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        }  # fmt: skip
        assert each["resources"]["limits"].keys() == {"memory"}


def test_the_probes_ask_what_the_process_answers(cluster: Found) -> None:
    found = container(cluster)
    assert found["command"] == ["sibyl-operator", "run"]
    assert found["livenessProbe"]["httpGet"]["path"] == found["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert found["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize(
    "kind", ["Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy", "ServiceMonitor", "spread"]
)
def test_every_selector_finds_the_pods_and_carries_no_version(kind: str) -> None:
    found = objects({"commonLabels": {"a": "b"}}, options=MONITORED)
    if kind == "spread":
        (constraint,) = pod(found)["topologySpreadConstraints"]
        selector = constraint["labelSelector"]["matchLabels"]
    else:
        spec = next(manifest for (k, _, _), manifest in found.items() if k == kind)["spec"]
        selector = spec["podSelector"] if kind == "NetworkPolicy" else spec["selector"]
        selector = selector.get("matchLabels", selector)
    assert selector.items() <= deployment(found)["spec"]["template"]["metadata"]["labels"].items()
    assert not {"app.kubernetes.io/version", "a"} & set(selector)
    test_pod = found["Pod", "sibyl-system", "sibyl-operator-test"]["metadata"]["labels"]
    assert not selector.items() <= test_pod.items()


def test_a_service_monitor_is_made_where_its_kind_is_known_and_the_pods_are_then_not_annotated(cluster: Found) -> None:
    assert "ServiceMonitor" not in kinds(cluster)
    assert deployment(cluster)["spec"]["template"]["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    for mode, options, made in (
        ("Auto", MONITORED, True),
        ("Always", (), True),
        ("Never", MONITORED, False),
    ):
        found = objects({"metrics": {"serviceMonitor": {"mode": mode}}}, options=options)
        assert ("ServiceMonitor" in kinds(found)) is made, mode
        assert ("annotations" in deployment(found)["spec"]["template"]["metadata"]) is not made, mode


def test_a_disruption_budget_is_made_only_where_a_pod_stands_by(cluster: Found) -> None:
    assert "PodDisruptionBudget" in kinds(cluster)
    assert "PodDisruptionBudget" not in kinds(objects({"replicas": 1}))


def test_the_test_pod_may_reach_the_operator_when_others_may_not() -> None:
    found = objects({"networkPolicy": {"metricsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}})
    (rule,) = found["NetworkPolicy", "sibyl-system", "sibyl-operator"]["spec"]["ingress"]
    labels = found["Pod", "sibyl-system", "sibyl-operator-test"]["metadata"]["labels"]
    selectors = [peer["podSelector"]["matchLabels"] for peer in rule["from"] if "podSelector" in peer]
    assert [selector.items() <= labels.items() for selector in selectors] == [True]


def test_the_operator_may_reach_the_pods_of_the_namespaces_that_it_serves_and_no_others(
    cluster: Found, some: Found
) -> None:
    def peers(found: Found) -> list[dict[str, Any]]:
        rules = found["NetworkPolicy", "sibyl-system", "sibyl-operator"]["spec"]["egress"]
        return [peer for rule in rules for peer in rule.get("to", [])]

    (everywhere,), (limited,) = peers(cluster), peers(some)
    assert everywhere["namespaceSelector"] == {}
    (expression,) = limited["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a", "team-b"]}


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("sibyl-operator", {}, "sibyl-operator"),
        ("sibyl", {}, "sibyl-operator"),
        ("prod", {}, "prod-sibyl-operator"),
        ("prod", {"nameOverride": "rag"}, "prod-rag"),
        ("prod", {"fullnameOverride": "rag"}, "rag"),
        ("a" * 53, {}, "a" * 50),
        ("12345", {"nameOverride": "678"}, "12345-678"),
    ],
)
def test_names_follow_the_release_and_fit(release: str, values: dict[str, Any], name: str) -> None:
    found = objects(values, release=release)
    assert {each for kind, _, each in found if kind in ("Deployment", "Service", "ClusterRole")} == {name}
    assert all(len(each) <= 63 for _, _, each in found)
    assert environment(found)["SIBYL_OPERATOR_LEASE_NAME"] == name
    labels = deployment(found)["spec"]["template"]["metadata"]["labels"]
    assert all(isinstance(value, str) for value in labels.values())


REFUSED = {
    "an unknown value": ({"replicaCount": 3}, "additional properties 'replicaCount' not allowed"),
    "an unknown value far below": (
        {"metrics": {"serviceMonitor": {"enabled": True}}}, "additional properties 'enabled' not allowed",
    ),
    "a lease that ends before it is renewed": (
        {"settings": {"leaseDuration": 9}},
        "settings.leaseDuration (9) must be longer than settings.renewDeadline (10)",
    ),
    "a window of less than two scrapes": (
        {"settings": {"kpiWindow": 20}}, "at least twice settings.scrapeInterval (15)",
    ),
    "a variable of the chart": (
        {"extraEnv": [{"name": "SIBYL_OPERATOR_WORKERS", "value": "3"}]}, "SIBYL_OPERATOR_WORKERS belongs to the chart",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_could_not_work_is_refused_before_anything_is_installed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ChartError) as raised:
        render(values)
    assert message in str(raised.value)


def test_an_old_kubernetes_is_refused() -> None:
    with pytest.raises(ChartError, match=r"requires kubeVersion: >=1\.31\.0-0"):
        render(options=("--kube-version", "1.30.9"))
    assert render(options=("--kube-version", "1.31.0"))


def test_it_works_as_a_part_of_another_chart(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(CHART, parent / "charts" / "sibyl-operator")
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 0.1.0\n")
    (parent / "values.yaml").write_text("global: {a: 1}\nsibyl-operator: {replicas: 3}\n")
    assert deployment(objects(chart=parent, release="all"))["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["serves all namespaces", "kubectl --namespace default apply"]),
        ({"watch": {"namespaces": ["a", "b"]}}, ["serves a, b", "kubectl --namespace a apply"]),
        ({"crds": {"enabled": False}}, ["crds.enabled is false"]),
        ({"watch": {"namespaces": ["a"]}, "rbac": {"create": False}}, ["rbac.create is false"]),
    ],
)
def test_the_notes_name_the_next_three_commands(values: dict[str, Any], words: list[str]) -> None:
    options = ("--dry-run=client", "--output", "json", "--namespace", "sibyl-system", "--values", "-")
    notes = json.loads(helm("install", "sibyl-operator", CHART, *options, values=values).stdout)["info"]["notes"]
    steps = [line.strip()[:2] for line in notes.splitlines() if line.startswith("  ") and line.strip()[1:2] == "."]
    assert steps == ["1.", "2.", "3."]
    assert "helm test sibyl-operator --namespace sibyl-system" in notes
    for each in words:
        assert each in notes


def test_reasons_stand_beside_the_rights_in_what_is_rendered() -> None:
    text = render_text()
    for grant in WORKSPACE_GRANTS:
        assert f"# {grant.reason}\n" in text
