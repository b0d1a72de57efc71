"""Reporting: status when it says something new, events after it, and metrics that go with the workspace."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.group import KIND
from sibyl_operator.kube import Forbidden, Manifest
from sibyl_operator.reconcile.report import Reporter
from tests.fakes.cluster import FakeCluster
from tests.fakes.world import KEY, NAME, NAMESPACE, World, workspace


async def test_a_status_that_says_the_same_in_another_order_is_not_written() -> None:
    world = World.with_workspace()
    await world.converge()
    world.cluster.edit(KIND, NAMESPACE, NAME, lambda live: live["status"]["conditions"].reverse())
    before = len(world.cluster.writes)
    await world.reconcile()
    assert world.cluster.writes[before:] == ()


async def test_a_field_that_an_older_crd_drops_is_sent_once() -> None:
    class OlderCrd(FakeCluster):
        async def patch_status(self, kind: str, namespace: str, name: str, status: Manifest) -> Manifest:
            known = {field: value for field, value in status.items() if field != "endpoints"}
            return await super().patch_status(kind, namespace, name, known)

    world = World(cluster=OlderCrd())
    world.cluster.put(World.with_workspace().child("Secret", "db"))
    world.cluster.put(workspace())
    await world.converge()
    before = len(world.cluster.writes)
    for _ in range(3):
        await world.reconcile()
    assert world.cluster.writes[before:] == ()


async def test_an_event_follows_each_transition_once() -> None:
    world = World.with_workspace()
    await world.converge()
    told = [(event["type"], event["reason"]) for event in world.cluster.events]
    assert told.count(("Normal", "Serving")) == 1
    await world.converge()
    assert len(world.cluster.events) == len(told)


async def test_an_event_that_cannot_be_posted_fails_nothing() -> None:
    world = World.with_workspace()
    world.cluster.deny = lambda call: Forbidden(403, "no events") if call.kind == "Event" else None
    assert (await world.converge()).result == "ready"
    assert world.cluster.events == []


async def test_a_restart_repeats_no_event() -> None:
    world = World.with_workspace()
    await world.converge()
    posted = len(world.cluster.events)
    world.restart()
    await world.converge()
    assert len(world.cluster.events) == posted


async def test_a_workspace_deleted_in_mid_pass_is_no_error() -> None:
    world = World.with_workspace()
    await world.reconcile()
    world.observer.pods = deleting(world)  # type: ignore[method-assign]
    assert (await world.reconcile()).retry is False
    assert (await world.reconcile()).result == "gone"


def deleting(world: World) -> Any:
    async def pods(*_: object) -> tuple[()]:
        world.cluster.remove(KIND, NAMESPACE, NAME)
        return ()

    return pods


async def test_conditions_are_shown_as_metrics_until_the_workspace_goes() -> None:
    world = World.with_workspace()
    await world.converge()
    series = f'sibyl_workspace_condition{{name="{NAME}",namespace="{NAMESPACE}",status="True",type="Ready"}} 1.0'
    assert series in world.metrics.exposition().decode()
    Reporter(world.cluster, world.metrics).forget(KEY)
    assert "sibyl_workspace_condition{" not in world.metrics.exposition().decode()
