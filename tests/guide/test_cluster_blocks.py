"""Blocks of the guide that are no workspace documents: what the operator makes of the same settings of a workspace."""

from __future__ import annotations

from typing import Any

import yaml

from sibyl_operator.desired import desired
from tests.guide.running import text_of, with_guide
from tests.guide.table import shows
from tests.operator.api.facts import resource

pytestmark = with_guide


def written(line: int) -> dict[str, Any]:
    """The block as YAML."""
    loaded: dict[str, Any] = yaml.safe_load(text_of(line))
    return loaded


def child(kind: str, **runtime: Any) -> dict[str, Any]:
    """The runtime's object of this kind."""
    made: dict[str, Any] = next(one for one in desired(resource(runtime=runtime), {}) if one["kind"] == kind)
    return made


def container(**runtime: Any) -> dict[str, Any]:
    """The container of a runtime pod."""
    [only] = child("Deployment", **runtime)["spec"]["template"]["spec"]["containers"]
    return dict(only)


def limits_of(line: int) -> dict[str, str]:
    """The limits of a compose file, as Kubernetes spells them."""
    limits = written(line)["services"]["sibyl"]["deploy"]["resources"]["limits"]
    return {"cpu": limits["cpus"], "memory": limits["memory"]}


@shows(
    564,
    sets="a compose file: `replicas` 5, `cpus` 2, `memory` 4G, nginx in front",
    effect="`spec.runtime.replicas` and `.resources` of a workspace give a Deployment of five such pods, and its "
    "Service takes the place of nginx.",
)
def test_five_pods_of_this_size_stand_behind_one_service() -> None:
    replicas = written(564)["services"]["sibyl"]["deploy"]["replicas"]
    runtime = {"replicas": replicas, "resources": {"limits": limits_of(564)}}
    deployment, service = child("Deployment", **runtime), child("Service", **runtime)
    assert deployment["spec"]["replicas"] == 5
    assert container(**runtime)["resources"]["limits"] == {"cpu": "2", "memory": "4G"}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


@shows(
    637,
    sets="a compose file: `cpus` 8, `memory` 16G",
    effect="`spec.runtime.resources` gives pods of this size.",
)
def test_a_pod_gets_larger_limits() -> None:
    runtime = {"resources": {"limits": limits_of(637)}}
    assert container(**runtime)["resources"]["limits"] == {"cpu": "8", "memory": "16G"}


@shows(
    607,
    sets="a HorizontalPodAutoscaler: `minReplicas` 3, `maxReplicas` 20, cpu 70 %, memory 80 %",
    effect="The autoscaler of a workspace is this one, field by field; only its name and its Deployment's differ. They "
    "are the defaults, too.",
)
def test_the_autoscaler_is_the_one_of_the_guide() -> None:
    wanted = written(607)
    bounds = {name: wanted["spec"][name] for name in ("minReplicas", "maxReplicas")}
    targets = {
        metric["resource"]["name"]: metric["resource"]["target"]["averageUtilization"]
        for metric in wanted["spec"]["metrics"]
    }
    said = {**bounds, "targetCPUUtilization": targets["cpu"], "targetMemoryUtilization": targets["memory"]}
    for runtime in ({"autoscaling": said}, {}):
        made = child("HorizontalPodAutoscaler", **runtime)
        assert (made["apiVersion"], made["kind"]) == (wanted["apiVersion"], wanted["kind"])
        target = {**wanted["spec"]["scaleTargetRef"], "name": made["spec"]["scaleTargetRef"]["name"]}
        assert made["spec"] == {**wanted["spec"], "scaleTargetRef": target}


@shows(
    779,
    sets="a HorizontalPodAutoscaler: `minReplicas` 1, `maxReplicas` 20",
    effect="`spec.runtime.autoscaling` gives these bounds. The time of day is no part of the block, nor of this "
    "version.",
)
def test_the_autoscaler_may_go_down_to_one() -> None:
    bounds = written(779)["spec"]
    made = child("HorizontalPodAutoscaler", autoscaling=bounds)["spec"]
    assert {name: made[name] for name in bounds} == bounds == {"minReplicas": 1, "maxReplicas": 20}


@shows(
    649,
    sets="`resources` of a container",
    effect="`spec.runtime.resources` reaches the container as written.",
)
def test_the_container_gets_the_resources_of_the_block() -> None:
    resources = written(649)["resources"]
    assert container(resources=resources)["resources"] == resources


@shows(
    771,
    sets="`nodeSelector` of spot nodes",
    effect="`spec.runtime.podTemplate.nodeSelector` reaches the pods as written.",
)
def test_the_pods_go_to_the_nodes_of_the_block() -> None:
    selector = written(771)["nodeSelector"]
    made = child("Deployment", podTemplate={"nodeSelector": selector})
    assert made["spec"]["template"]["spec"]["nodeSelector"] == selector
