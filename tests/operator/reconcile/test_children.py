"""Writing children: in order, only what differs, guarded against races, and told when it fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sibyl_operator.kube import Conflict, Forbidden, Invalid, KubeError, Manifest, Unavailable
from sibyl_operator.reconcile.children import APPLIED_HASH, Children, stamped
from tests.fakes.cluster import Call
from tests.fakes.defaults import defaulted
from tests.fakes.world import KEY, NAMESPACE, RUNTIME, World


def refuse(kind: str, error: KubeError, verb: str = "patch") -> Callable[[Call], KubeError | None]:
    return lambda call: error if (call.verb, call.kind) == (verb, kind) else None


def written(world: World, since: int = 0) -> list[str]:
    return [call.kind for call in world.cluster.writes[since:] if call.manager == "sibyl-operator"]


def test_the_stamp_is_the_hash_of_the_manifest_without_it() -> None:
    plain: Manifest = {"kind": "Service", "metadata": {"name": "a", "annotations": {"x": "y"}}, "spec": {"b": 1}}
    annotations = stamped(plain)["metadata"]["annotations"]
    assert annotations["x"] == "y"
    assert len(annotations[APPLIED_HASH]) == 32
    assert plain["metadata"]["annotations"] == {"x": "y"}
    other: Manifest = {**plain, "spec": {"b": 2}}
    assert stamped(other)["metadata"]["annotations"][APPLIED_HASH] != annotations[APPLIED_HASH]


async def test_children_are_written_in_phases_what_pods_need_first() -> None:
    world = World.with_workspace()
    await world.reconcile()
    assert written(world) == [
        "ServiceAccount", "ConfigMap", "NetworkPolicy", "Deployment", "Service", "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["NetworkPolicy", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
)
async def test_one_child_that_cannot_be_written_does_not_hold_up_the_others(kind: str) -> None:
    world = World.with_workspace()
    world.cluster.deny = refuse(kind, Invalid(422, f"{kind} is invalid: spec.x: no"))
    outcome = await world.reconcile()
    assert (outcome.result, outcome.requeue_after) == ("stalled", 60)
    kinds = {call.kind for call in world.cluster.writes if call.manager}
    assert len([k for k in kinds if world.cluster.all(k, NAMESPACE)]) == 7, "six children and the workspace's status"
    assert not world.cluster.all(kind, NAMESPACE)
    assert f"{kind}: apply: {kind} is invalid: spec.x: no" in world.condition("RuntimeReady")["message"]


@pytest.mark.parametrize("kind", ["ServiceAccount", "ConfigMap"])
async def test_no_pod_is_started_on_a_configuration_that_was_not_written(kind: str) -> None:
    world = World.with_workspace()
    world.cluster.deny = refuse(kind, Forbidden(403, "exceeded quota"))
    assert (await world.reconcile()).result == "stalled"
    assert not world.cluster.all("Deployment", NAMESPACE)
    assert "exceeded quota" in world.condition("RuntimeReady")["message"]


async def test_a_transient_refusal_is_retried_with_backoff_and_told() -> None:
    world = World.with_workspace()
    world.cluster.deny = refuse("Service", Unavailable(500, "etcd has no leader"))
    outcome = await world.reconcile()
    assert (outcome.result, outcome.retry) == ("error", True)
    assert world.condition("RuntimeReady")["reason"] == "ApplyFailed"


async def test_an_object_that_appears_while_we_create_is_contested_not_overwritten() -> None:
    """Between looking and writing, somebody else makes a Service of our name."""
    world = World.with_workspace()
    theirs: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": RUNTIME, "namespace": NAMESPACE},
        "spec": {"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP"}], "selector": {"app": "theirs"}},
    }

    def appear(call: Call) -> KubeError | None:
        if (call.verb, call.kind) == ("patch", "Service") and not world.cluster.all("Service", NAMESPACE):
            # Their selector has a field of ours with another value.
            theirs["spec"]["selector"]["app.kubernetes.io/component"] = "theirs"
            world.cluster.put(theirs)
        return None

    world.cluster.deny = appear
    assert (await world.reconcile()).retry is True
    assert world.child("Service")["spec"]["type"] == "NodePort"
    assert (await world.reconcile()).result == "stalled"
    assert world.condition("Ready")["reason"] == "ResourceConflict"


async def test_a_child_that_was_replaced_behind_our_back_is_not_overwritten() -> None:
    """The cache still believes in our Service; its uid is a precondition of the write."""
    world = World.with_workspace()
    await world.converge()
    theirs = {**world.child("Service"), "spec": {"ports": [{"port": 1}]}}
    theirs["metadata"] = {"name": RUNTIME, "namespace": NAMESPACE}
    world.cluster.remove("Service", NAMESPACE, RUNTIME)
    world.cluster.put(theirs)
    world.miss()
    world.change_spec(runtime={"podTemplate": {"labels": {"a": "b"}}}, workspace={"name": "x", "mcp": {"port": 9000}})
    await world.engine.reconcile(KEY)
    assert world.child("Service")["spec"]["ports"] == [{"port": 1, "protocol": "TCP"}]
    await world.engine.reconcile(KEY)
    assert world.condition("Ready")["reason"] == "ResourceConflict"


async def test_a_child_on_its_way_out_is_waited_for() -> None:
    world = World.with_workspace()
    await world.converge()
    world.cluster.edit("Service", NAMESPACE, RUNTIME, lambda live: live["metadata"].update(finalizers=["test/hold"]))
    world.cluster.remove("Service", NAMESPACE, RUNTIME)
    assert (await world.reconcile()).retry is True
    assert "is made anew once it is gone" in world.condition("RuntimeReady")["message"]
    world.cluster.edit("Service", NAMESPACE, RUNTIME, lambda live: live["metadata"].pop("finalizers"))
    world.cluster.remove("Service", NAMESPACE, RUNTIME)
    assert (await world.converge()).result == "ready"


async def test_a_label_removed_by_hand_is_put_back_although_the_watch_loses_sight_of_it() -> None:
    world = World.with_workspace()
    await world.converge()
    world.cluster.edit(
        "Service", NAMESPACE, RUNTIME, lambda live: live["metadata"]["labels"].pop("app.kubernetes.io/managed-by")
    )
    await world.converge()
    assert world.child("Service")["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "sibyl-operator"


async def test_pruning_trusts_only_a_fresh_list() -> None:
    world = World.with_workspace()
    await world.converge()
    world.change_spec(runtime={"replicas": 3})
    begun = len(world.cluster.calls)
    await world.reconcile()
    calls = [(call.verb, call.kind) for call in world.cluster.calls[begun:]]
    autoscaler = "HorizontalPodAutoscaler"
    assert calls.index(("list", autoscaler)) < calls.index(("delete", autoscaler))
    assert calls.index(("patch", "Deployment")) < calls.index(("delete", autoscaler))


async def test_an_object_with_our_labels_but_another_owner_is_never_pruned() -> None:
    world = World.with_workspace()
    await world.converge()
    stray = world.child("Service")
    metadata = {"name": "stray", "namespace": NAMESPACE, "labels": stray["metadata"]["labels"]}
    world.cluster.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}})
    world.restart()
    await world.converge()
    assert world.cluster.peek("Service", NAMESPACE, "stray") is not None


@pytest.mark.parametrize("verb", ["list", "delete"])
async def test_a_prune_that_fails_is_told_and_tried_again(verb: str) -> None:
    world = World.with_workspace()
    await world.converge()
    world.change_spec(runtime={"replicas": 3})
    error = Unavailable(503, "not now")
    world.cluster.deny = refuse("HorizontalPodAutoscaler", error, verb)
    assert (await world.reconcile()).retry is True
    assert "not now" in world.condition("RuntimeReady")["message"]
    world.cluster.deny = lambda _call: None
    await world.converge()
    assert not world.cluster.all("HorizontalPodAutoscaler", NAMESPACE)


async def test_what_the_server_writes_in_its_own_words_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewriting that the comparison does not know costs one write after a start, not one each pass."""
    world = World.with_workspace({"runtime": {"replicas": 1}})
    await world.converge()
    manifest = stamped(_plain(world.child("ConfigMap", "demo-config")))
    children = Children(world.cluster, world.cache, world.metrics)
    manifest["data"] = {"duration": "60s"}
    uid = world.child("SibylWorkspace", "demo")["metadata"]["uid"]
    monkeypatch.setattr("tests.fakes.cluster.defaulted", in_other_words)
    for _ in range(3):
        assert not await children.apply(KEY, uid, [manifest])
    assert world.child("ConfigMap", "demo-config")["data"] == {"duration": "1m"}
    assert [call.kind for call in world.cluster.writes].count("ConfigMap") == 2


def in_other_words(manifest: Manifest) -> Manifest:
    """A server that writes every minute as 1m."""
    stored = defaulted(manifest)
    return {**stored, "data": {"duration": "1m"}} if "duration" in stored.get("data", {}) else stored


def _plain(live: Manifest) -> Manifest:
    metadata = {k: live["metadata"][k] for k in ("name", "namespace", "labels", "ownerReferences")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_writes_are_counted_by_kind_and_result() -> None:
    world = World.with_workspace()
    world.cluster.deny = refuse("PodDisruptionBudget", Conflict(409, "raced"))
    await world.reconcile()
    world.cluster.deny = lambda _call: None
    await world.converge()
    world.change_spec(runtime={"replicas": 3})
    await world.converge()
    shown = world.metrics.exposition().decode()
    for series in (
        'sibyl_apply_total{kind="Service",result="created"} 1.0',
        'sibyl_apply_total{kind="Deployment",result="updated"} 1.0',
        'sibyl_apply_total{kind="HorizontalPodAutoscaler",result="deleted"} 1.0',
        'sibyl_apply_total{kind="PodDisruptionBudget",result="failed"} 1.0',
    ):
        assert series in shown
