"""Events become keys: of news only, never of our own echo, and of nothing at the first list but workspaces."""

from __future__ import annotations

from functools import partial

from sibyl_operator.kube import Manifest
from tests.fakes.world import KEY, NAMESPACE, RUNTIME, World


async def test_the_first_list_asks_for_one_pass_over_each_workspace() -> None:
    world = World.with_workspace()
    await world.converge()
    world.restart()
    objects = [*world.cluster.all("SibylWorkspace", NAMESPACE), *world.cluster.all("Deployment", NAMESPACE)]
    for manifest in [*reversed(objects), *objects]:
        world.triggers.event(None, manifest)
    assert len(world.queue) == 1


async def test_our_own_writes_come_back_as_no_news() -> None:
    world = World.with_workspace()
    world.deliver()
    await world.queue.get()
    await world.engine.reconcile(KEY)
    world.deliver()
    world.queue.done(KEY)
    assert len(world.queue) == 0


async def test_a_change_of_spec_labels_or_annotations_is_news() -> None:
    world = World.with_workspace()
    await world.converge()
    await world.drain()
    for change in ({"labels": {"a": "b"}}, {"annotations": {"a": "b"}}):
        world.cluster.edit("SibylWorkspace", NAMESPACE, KEY.name, partial(update_metadata, change))
        world.deliver()
        assert len(world.queue) == 1
        await world.drain()
    world.change_spec(suspend=True)
    world.deliver()
    assert len(world.queue) == 1


def update_metadata(change: Manifest, live: Manifest) -> None:
    live["metadata"].update(change)


async def test_readiness_of_a_deployment_is_news_and_its_bookkeeping_is_not() -> None:
    world = World.with_workspace()
    await world.converge()
    await world.drain()
    world.cluster.edit("Deployment", NAMESPACE, RUNTIME, lambda live: live["status"].update(collisionCount=1))
    world.deliver()
    assert len(world.queue) == 0
    world.cluster.edit("Deployment", NAMESPACE, RUNTIME, lambda live: live["status"].update(readyReplicas=0))
    world.deliver()
    assert len(world.queue) == 1


async def test_a_change_that_a_broken_watch_shows_only_in_its_next_list_is_news() -> None:
    world = World.with_workspace()
    await world.converge()
    await world.drain()
    world.cluster.edit("Service", NAMESPACE, RUNTIME, lambda live: live["spec"].update(type="NodePort"))
    world.miss()
    world.triggers.event(None, world.child("Service"))
    assert len(world.queue) == 1


async def test_a_stranger_with_our_managed_by_label_is_nobody_s_child() -> None:
    world = World.with_workspace()
    labels = {"app.kubernetes.io/managed-by": "sibyl-operator"}
    world.triggers.event(
        "ADDED",
        {"kind": "Service", "metadata": {"name": "x", "namespace": "y", "labels": labels, "resourceVersion": "1"}},
    )
    assert len(world.queue) == 0


async def test_a_workspace_that_goes_and_comes_again_is_news_both_times() -> None:
    world = World.with_workspace()
    await world.converge()
    await world.drain()
    body = world.child("SibylWorkspace", KEY.name)
    world.triggers.event("DELETED", body)
    assert len(world.queue) == 1
    await world.drain()
    world.triggers.event("ADDED", body)
    assert len(world.queue) == 1
