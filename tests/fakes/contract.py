"""What the operator relies on in an API server, as scenarios that the fake and a real one both have to pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from sibyl_operator.kube import (
    FIELD_MANAGER,
    HANDOVER_MANAGER,
    AlreadyExists,
    Conflict,
    Invalid,
    KubeApi,
    Manifest,
    NotFound,
)
from sibyl_operator.reconcile.handover import handover

Scenario = Callable[[KubeApi, str], Awaitable[None]]


def config_map(namespace: str, name: str = "one", **data: str) -> Manifest:
    """A ConfigMap with a label of its name."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "data": data,
    }


def deployment(namespace: str, replicas: int | None, **env: str) -> Manifest:
    """A Deployment that starts nothing anywhere; without replicas, their number is left to others."""
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": "registry.invalid/web",
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def an_object_can_be_written_read_listed_and_deleted(api: KubeApi, namespace: str) -> None:
    """And only by its uid."""
    assert await api.get("ConfigMap", namespace, "one") is None
    made = await api.apply(config_map(namespace, a="1"))
    await api.apply(config_map(namespace, "two"))
    (listed,) = await api.list("ConfigMap", namespace, labels={"app": "one"})
    for found in (await api.get("ConfigMap", namespace, "one"), listed):
        assert found is not None
        assert (found["apiVersion"], found["kind"], found["data"]) == ("v1", "ConfigMap", {"a": "1"})
    with pytest.raises(Conflict):
        await api.delete("ConfigMap", namespace, "one", uid="another")
    await api.delete("ConfigMap", namespace, "one", uid=made["metadata"]["uid"])
    await api.delete("ConfigMap", namespace, "one", uid=made["metadata"]["uid"])
    assert await api.get("ConfigMap", namespace, "one") is None


async def applying_the_same_again_changes_nothing(api: KubeApi, namespace: str) -> None:
    """Not even the resourceVersion."""
    made = await api.apply(config_map(namespace, a="1", b="2"))
    again = await api.apply(config_map(namespace, a="1", b="2"))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def a_field_that_is_no_longer_applied_goes(api: KubeApi, namespace: str) -> None:
    """In maps and in keyed lists, unless somebody else owns it."""
    await api.apply(config_map(namespace, a="1", b="2"))
    await api.apply(config_map(namespace, a="1"), field_manager="somebody")
    assert (await api.apply(config_map(namespace, c="3")))["data"] == {"a": "1", "c": "3"}
    await api.apply(deployment(namespace, 0, A="1", B="2"))
    live = await api.apply(deployment(namespace, 0, B="2"))
    assert live["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B", "value": "2"}]


async def a_contested_field_is_a_conflict_without_force(api: KubeApi, namespace: str) -> None:
    """With force it changes hands."""
    await api.apply(config_map(namespace, a="1"), field_manager="somebody")
    with pytest.raises(Conflict, match="somebody"):
        await api.apply(config_map(namespace, a="2"), force=False)
    assert (await api.apply(config_map(namespace, a="2")))["data"] == {"a": "2"}
    assert _owners(await api.apply(config_map(namespace, a="2")), "f:data", "f:a") == {FIELD_MANAGER}


async def a_uid_is_a_precondition_of_apply(api: KubeApi, namespace: str) -> None:
    """Another object under the name, or none, is a conflict."""
    live = await api.apply(config_map(namespace))
    for name, uid in (("one", "another"), ("absent", live["metadata"]["uid"])):
        manifest = config_map(namespace, name)
        manifest["metadata"]["uid"] = uid
        with pytest.raises(Conflict):
            await api.apply(manifest)
    assert await api.get("ConfigMap", namespace, "absent") is None


async def create_and_replace_are_guarded(api: KubeApi, namespace: str) -> None:
    """By the name and by the resourceVersion."""
    made = await api.create(config_map(namespace, a="1"))
    with pytest.raises(AlreadyExists):
        await api.create(config_map(namespace, a="1"))
    changed = await api.replace({**made, "data": {"a": "2"}})
    assert changed["data"] == {"a": "2"}
    with pytest.raises(Conflict):
        await api.replace({**made, "data": {"a": "3"}})


async def an_immutable_field_is_refused_with_its_name(api: KubeApi, namespace: str) -> None:
    """So that a retry can be told to be pointless."""
    await api.apply(deployment(namespace, 0))
    other = deployment(namespace, 0)
    other["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    with pytest.raises(Invalid) as invalid:
        await api.apply(other)
    assert invalid.value.causes[0][0] == "spec.selector"


async def status_of_an_absent_object_is_not_found(api: KubeApi, namespace: str) -> None:
    """Applying status creates nothing."""
    with pytest.raises(NotFound):
        await api.patch_status("SibylWorkspace", namespace, "absent", {})


async def dropping_replicas_without_a_handover_leaves_one_pod(api: KubeApi, namespace: str) -> None:
    """The trap that the handover is for."""
    await api.apply(deployment(namespace, 5))
    assert (await api.apply(deployment(namespace, None)))["spec"]["replicas"] == 1


async def a_handover_keeps_the_number_of_pods(api: KubeApi, namespace: str) -> None:
    """And replicas can be taken back afterwards."""
    await api.apply(deployment(namespace, 5))
    await _hand_over(api, deployment(namespace, None))
    after = await api.apply(deployment(namespace, None))
    assert after["spec"]["replicas"] == 5
    assert _owners(after, "f:spec", "f:replicas") == {HANDOVER_MANAGER}
    assert handover(deployment(namespace, None), after) is None
    assert (await api.apply(deployment(namespace, 2)))["spec"]["replicas"] == 2


async def _hand_over(api: KubeApi, free: Manifest) -> None:
    """What the engine does, again and again: a Deployment's controller may write its status in between."""
    for attempt in range(20):
        live = await api.get("Deployment", free["metadata"]["namespace"], free["metadata"]["name"])
        assert live is not None
        first = handover(free, live)
        assert first is not None
        if attempt == 0:
            with pytest.raises(Conflict):
                await api.apply({**first, "metadata": {**first["metadata"], "resourceVersion": "1"}})
        try:
            await api.apply(first, field_manager=HANDOVER_MANAGER)
        except Conflict:
            continue
        return
    raise AssertionError("the Deployment never stood still")


def _owners(live: Manifest, *path: str) -> set[str]:
    return {entry["manager"] for entry in live["metadata"]["managedFields"] if _has(entry["fieldsV1"], path)}


def _has(fields: Mapping[str, object], path: tuple[str, ...]) -> bool:
    node: object = fields
    for step in path:
        if not isinstance(node, Mapping) or step not in node:
            return False
        node = node[step]
    return True


SCENARIOS: tuple[Scenario, ...] = (
    a_contested_field_is_a_conflict_without_force,
    a_field_that_is_no_longer_applied_goes,
    a_handover_keeps_the_number_of_pods,
    a_uid_is_a_precondition_of_apply,
    an_immutable_field_is_refused_with_its_name,
    an_object_can_be_written_read_listed_and_deleted,
    applying_the_same_again_changes_nothing,
    create_and_replace_are_guarded,
    dropping_replicas_without_a_handover_leaves_one_pod,
    status_of_an_absent_object_is_not_found,
)
