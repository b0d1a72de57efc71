"""The fake keeps the contract that the real API server keeps, and its own promises: faults, crashes, deletion."""

from __future__ import annotations

import pytest

from sibyl_operator.kube import Conflict, Unavailable
from tests.fakes.cluster import Crash, FakeCluster, Fault
from tests.fakes.contract import SCENARIOS, Scenario, config_map, deployment


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_fake_keeps_the_contract(scenario: Scenario) -> None:
    await scenario(FakeCluster(), "team")


def owned_by(manifest: dict[str, object], name: str, uid: str) -> dict[str, object]:
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": True}
    return {**manifest, "metadata": {**metadata, "ownerReferences": [reference]}}


def test_what_an_object_owns_goes_with_it() -> None:
    cluster = FakeCluster()
    parent = cluster.put(config_map("team", "parent"))
    child = cluster.put(owned_by(config_map("team", "child"), "parent", parent["metadata"]["uid"]))
    cluster.put(owned_by(config_map("team", "grandchild"), "child", child["metadata"]["uid"]))
    cluster.put(config_map("team", "stranger"))
    cluster.remove("ConfigMap", "team", "parent")
    assert [name for _, _, name in cluster.everything("ConfigMap")] == ["stranger"]
    assert [event for event, _ in cluster.watch_log[-3:]] == ["DELETED"] * 3


def test_a_finalizer_holds_a_deletion_up() -> None:
    cluster = FakeCluster()
    held = config_map("team")
    held["metadata"]["finalizers"] = ["test/hold"]
    cluster.put(held)
    cluster.remove("ConfigMap", "team", "one")
    live = cluster.peek("ConfigMap", "team", "one")
    assert live is not None
    assert "deletionTimestamp" in live["metadata"]
    cluster.edit("ConfigMap", "team", "one", lambda live: live["metadata"].pop("finalizers"))
    cluster.remove("ConfigMap", "team", "one")
    assert cluster.peek("ConfigMap", "team", "one") is None


async def test_the_generation_counts_changes_of_the_spec_alone() -> None:
    cluster = FakeCluster()
    await cluster.apply(deployment("team", 1))
    cluster.edit("Deployment", "team", "web", lambda live: live.update(status={"replicas": 1}))
    cluster.edit("Deployment", "team", "web", lambda live: live["metadata"].update(labels={"a": "b"}))
    live = await cluster.apply(deployment("team", 2))
    assert live["metadata"]["generation"] == 2
    assert live["status"] == {"replicas": 1}


async def test_editing_by_hand_takes_a_field_over_and_applying_takes_it_back() -> None:
    cluster = FakeCluster()
    await cluster.apply(config_map("team", a="1"))
    cluster.edit("ConfigMap", "team", "one", lambda live: live["data"].update(a="2"))
    with pytest.raises(Conflict, match="kubectl"):
        await cluster.apply(config_map("team", a="1"), force=False)
    assert (await cluster.apply(config_map("team", a="1")))["data"] == {"a": "1"}


@pytest.mark.parametrize("after", [False, True])
async def test_a_fault_hits_one_call_before_or_after_its_effect(after: bool) -> None:
    cluster = FakeCluster(faults={1: Fault(Unavailable(500, "boom"), after)})
    await cluster.apply(config_map("team", "zero"))
    with pytest.raises(Unavailable):
        await cluster.apply(config_map("team", "one"))
    await cluster.apply(config_map("team", "two"))
    names = [name for _, _, name in cluster.everything()]
    assert names == (["one", "two", "zero"] if after else ["two", "zero"])


async def test_a_crash_is_no_exception_that_anybody_handles() -> None:
    cluster = FakeCluster(faults={0: Fault(Crash())})
    with pytest.raises(Crash):
        await cluster.get("ConfigMap", "team", "one")
    assert not isinstance(Crash(), Exception)
