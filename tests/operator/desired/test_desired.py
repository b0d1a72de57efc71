"""All children together: which there are, in which order, and that no field of the resource is without effect."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sibyl_operator.api.conditions import conditions
from sibyl_operator.api.crd import spec_schema
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.structure import leaves
from sibyl_operator.desired import config_hash, desired
from tests.operator.api.facts import body, full_body, observed, resource, sources, valid

Path = tuple[str | int, ...]
FULL, BUILTIN = full_body(), full_body("full-builtin.yaml")


def kinds(**spec: Any) -> list[str]:
    return [manifest["kind"] for manifest in desired(resource(**spec), {})]


def child(kind: str, **spec: Any) -> dict[str, Any]:
    return of_kind(kind, resource(**spec))


def of_kind(kind: str, of: WorkspaceResource) -> dict[str, Any]:
    """The first child of a kind: the runtime's."""
    return next(manifest for manifest in desired(of, {}) if manifest["kind"] == kind)


PODS_NEED, PODS = ["ServiceAccount", "ConfigMap", "NetworkPolicy"], ["Deployment", "Service"]


@pytest.mark.parametrize(
    ("runtime", "watching"),
    [
        ({}, ["HorizontalPodAutoscaler", "PodDisruptionBudget"]),
        ({"autoscaling": {"minReplicas": 2}}, ["HorizontalPodAutoscaler", "PodDisruptionBudget"]),
        ({"autoscaling": {"minReplicas": 1}}, ["HorizontalPodAutoscaler"]),
        ({"replicas": 1}, []),
        ({"replicas": 2}, ["PodDisruptionBudget"]),
    ],
)
def test_children_come_in_the_order_in_which_they_are_needed(runtime: dict[str, Any], watching: list[str]) -> None:
    assert kinds(runtime=runtime) == PODS_NEED + PODS + watching


@pytest.mark.parametrize("enabled", [True, False])
def test_policies_come_before_the_pods_that_they_are_about_unless_they_are_switched_off(enabled: bool) -> None:
    found = kinds(cache={"provider": "Builtin"}, networkPolicy={"enabled": enabled}, runtime={"replicas": 1})
    assert found == [
        *["ServiceAccount", "ConfigMap"], *["NetworkPolicy"] * 2 * enabled, *PODS,
        *["ServiceAccount", "ConfigMap", "Deployment", "Service"],
    ]  # fmt: skip


def test_the_number_of_pods_is_never_sent_while_the_autoscaler_decides_it() -> None:
    assert "replicas" not in child("Deployment", runtime={})["spec"]
    assert "replicas" not in child("Deployment", runtime={"autoscaling": {"minReplicas": 1}})["spec"]
    assert child("Deployment", runtime={"replicas": 4})["spec"]["replicas"] == 4


def test_the_autoscaler_has_the_guides_defaults() -> None:
    spec = child("HorizontalPodAutoscaler", runtime={})["spec"]
    assert "behavior" not in spec
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 20)
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "docs-runtime"}
    assert [(m["resource"]["name"], m["resource"]["target"]) for m in spec["metrics"]] == [
        ("cpu", {"type": "Utilization", "averageUtilization": 70}),
        ("memory", {"type": "Utilization", "averageUtilization": 80}),
    ]


def test_the_autoscaler_follows_the_load_at_the_pace_of_the_workspace() -> None:
    pace = {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}, "scaleDown": {}}
    spec = child("HorizontalPodAutoscaler", runtime={"autoscaling": {"behavior": pace}})["spec"]
    assert spec["behavior"] == {"scaleUp": pace["scaleUp"]}


def test_the_disruption_budget_gives_one_pod_at_a_time() -> None:
    spec = child("PodDisruptionBudget", runtime={})["spec"]
    assert spec["maxUnavailable"] == 1
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_service_finds_the_pods_on_the_ports_of_the_document() -> None:
    spec = child("Service", workspace={"mcp": {"port": 8080}})["spec"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in spec["ports"]] == [
        ("http", 8080, "http"),
        ("metrics", 9090, "metrics"),
    ]
    labels = child("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"].items() <= labels.items()


@pytest.mark.parametrize("manifest", [body(), full_body(), BUILTIN], ids=["minimal", "full", "builtin"])
def test_no_selector_carries_a_version(manifest: dict[str, Any]) -> None:
    for made in desired(valid(manifest), {}):
        selectors = [made["spec"].get("selector", {}) if "spec" in made else {}]
        selectors += [selectors[0].get("matchLabels", {})]
        assert not any("app.kubernetes.io/version" in selector for selector in selectors)


@pytest.mark.parametrize("manifest", [body(), full_body(), BUILTIN], ids=["minimal", "full", "builtin"])
def test_every_child_belongs_to_its_workspace(manifest: dict[str, Any]) -> None:
    for made in desired(valid(manifest), {}):
        assert made["metadata"]["namespace"] == "team"
        assert made["metadata"]["ownerReferences"][0]["uid"] == manifest["metadata"]["uid"]
        assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "sibyl-operator"
        assert len(made["metadata"]["name"]) <= 63


def test_the_same_facts_give_the_same_children() -> None:
    found = valid(full_body())
    assert desired(found, sources(found)) == desired(found, sources(found))


def test_no_child_holds_null_which_server_side_apply_would_refuse() -> None:
    for made in desired(valid(full_body()), {}):
        assert [location for location, _, value in leaves({}, made) if value is None] == []


def test_no_child_shows_a_credential() -> None:
    found = valid(full_body())
    text = str(desired(found, sources(found)))
    assert "digest-of-" not in text


# --- nothing is silently ignored

FULL_LEAVES: list[Path] = [location for location, _, _ in leaves({}, FULL["spec"])]
BUILTIN_LEAVES: list[Path] = [location for location, _, _ in leaves({}, BUILTIN["spec"])]
DOCUMENT_LEAVES = [path for path in FULL_LEAVES if path[0] == "workspace"]
OTHER_LEAVES = [path for path in FULL_LEAVES if path[0] != "workspace"]

# Values that only some words may replace, and leaves that can only change together with another.
REPLACED: dict[Path, Any] = {
    ("runtime", "autoscaling", "behavior", "scaleDown", "policies", 0, "type"): "Pods",
    ("runtime", "autoscaling", "behavior", "scaleDown", "selectPolicy"): "Disabled",
    ("runtime", "autoscaling", "behavior", "scaleUp", "policies", 0, "type"): "Percent",
    ("runtime", "autoscaling", "behavior", "scaleUp", "selectPolicy"): "Max",
    ("runtime", "imagePullPolicy"): "Never",
    ("runtime", "podTemplate", "tolerations", 0, "effect"): "NoExecute",
    ("runtime", "resources", "limits", "cpu"): 3,
    ("runtime", "resources", "limits", "memory"): "2Gi",
    ("runtime", "resources", "requests", "cpu"): "600m",
    ("runtime", "resources", "requests", "memory"): "600Mi",
}
TOGETHER: dict[Path, dict[Path, Any]] = {
    ("cache", "provider"): {
        ("cache",): {"provider": "None"},
        ("workspace", "shops", "infrastructure", "config", "caching", "redis"): {"enabled": False},
    },
    ("runtime", "podTemplate", "tolerations", 0, "effect"): {
        ("runtime", "podTemplate", "tolerations", 0): {"key": "example.com/dedicated", "effect": "NoSchedule"},
    },
    ("runtime", "podTemplate", "tolerations", 0, "operator"): {
        ("runtime", "podTemplate", "tolerations", 0): {"key": "example.com/dedicated", "operator": "Exists"},
    },
}  # fmt: skip
# The name of a variable is also written where it is used, and nothing else may be called External in this version.
RENAMED = {"API_KEY_1", "OPENAI_API_KEY"}
ONLY_ONE_VALUE: set[Path] = {("database", "provider")}


def put(spec: dict[str, Any], path: Path, value: Any) -> None:
    place: Any = spec
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value


def value_at(path: Path) -> Any:
    place: Any = FULL["spec"]
    for part in path:
        place = place[part]
    return place


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x"


def mutated(path: Path) -> dict[str, Any]:
    """The full resource with one leaf changed, and what has to change with it."""
    manifest = copy.deepcopy(FULL)
    if path in TOGETHER:
        for place, value in TOGETHER[path].items():
            put(manifest["spec"], place, value)
    elif value_at(path) in RENAMED:
        manifest["spec"]["runtime"]["env"].append({**value_holder(path), "name": f"{value_at(path)}X"})
    else:
        put(manifest["spec"], path, REPLACED.get(path, changed(value_at(path))))
    return manifest


def value_holder(path: Path) -> dict[str, Any]:
    holder: dict[str, Any] = value_at(path[:-1])
    return holder


def effect(manifest: dict[str, Any]) -> Any:
    """All that the operator makes of a resource: children, and what it says."""
    found = valid(manifest)
    said = [condition.type for condition in conditions(observed(found))]
    return desired(found, sources(found)), said


@pytest.mark.parametrize("path", [p for p in OTHER_LEAVES if p not in ONLY_ONE_VALUE], ids=str)
def test_every_field_of_the_resource_changes_a_child_or_a_condition(path: Path) -> None:
    assert effect(mutated(path)) != effect(FULL)


# What the full resource cannot have beside a database and a cache that somebody else runs.
BUILTIN_ONLY = [path for path in BUILTIN_LEAVES if path[0] != "workspace"]
REPLACED_BUILTIN: dict[Path, Any] = {
    ("cache", "memory"): "1Gi",
    ("database", "resources", "limits", "cpu"): 3,
    ("database", "resources", "limits", "memory"): "3Gi",
    ("database", "resources", "requests", "cpu"): "600m",
    ("database", "resources", "requests", "memory"): "600Mi",
    ("database", "storage", "size"): "30Gi",
    ("deletionPolicy",): "Retain",
}


@pytest.mark.parametrize("path", BUILTIN_ONLY, ids=str)
def test_every_field_of_a_builtin_service_changes_a_child_or_a_condition(path: Path) -> None:
    manifest = copy.deepcopy(BUILTIN)
    if path == ("cache", "provider"):
        manifest["spec"]["cache"] = {"provider": "None"}
    elif path == ("database", "provider"):
        external = {"provider": "External", "external": {"secretRef": {"name": "database"}}}
        manifest["spec"] |= {"database": external, "deletionPolicy": "Retain", "workspace": {}}
    else:
        before: Any = BUILTIN["spec"]
        for part in path:
            before = before[part]
        put(manifest["spec"], path, REPLACED_BUILTIN.get(path, changed(before)))
    assert effect(manifest) != effect(BUILTIN)


@pytest.mark.parametrize("path", DOCUMENT_LEAVES, ids=str)
def test_every_leaf_of_the_document_reaches_the_pods_and_their_hash(path: Path) -> None:
    found = valid(FULL)
    manifest = copy.deepcopy(FULL)
    put(manifest["spec"], path, changed(value_at(path)))
    other = replace(found, raw_document=manifest["spec"]["workspace"])
    assert config_hash(other) != config_hash(found)
    assert of_kind("ConfigMap", other)["data"] != of_kind("ConfigMap", found)["data"]
    assert of_kind("Deployment", other)["spec"]["template"] != of_kind("Deployment", found)["spec"]["template"]


def schema_fields(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, below in schema.get("properties", {}).items():
        if (*path, name) != ("workspace",):
            yield (*path, name)
            yield from schema_fields(below, (*path, name))
    if "items" in schema:
        yield from schema_fields(schema["items"], path)


def test_the_full_resources_have_every_field_but_the_one_that_excludes_another() -> None:
    paths = FULL_LEAVES + BUILTIN_LEAVES
    written = {tuple(part for part in path[:end] if isinstance(part, str)) for path in paths for end in range(20)}
    missing = set(schema_fields(spec_schema())) - written
    assert missing == {("runtime", "replicas")}
