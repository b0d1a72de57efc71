"""The resync: every workspace at the start, and again from time to time, whatever the watch lost."""

from __future__ import annotations

import asyncio

from sibyl_operator.kube import Forbidden, NotFound, Unavailable
from sibyl_operator.process.resync import Resync
from sibyl_operator.reconcile.key import Key
from tests.fakes.cluster import FakeCluster, Fault
from tests.fakes.virtual_time import run_virtually
from tests.fakes.world import KEY, NAMESPACE, World, workspace


def resync(world: World, *namespaces: str) -> Resync:
    return Resync(world.cluster, world.cache, world.queue, world.triggers, namespaces=namespaces, jitter=lambda: 0.5)


def elsewhere(cluster: FakeCluster) -> Key:
    body = workspace()
    body["metadata"]["namespace"] = "other"
    cluster.put(body)
    return Key("other", KEY.name)


async def taken(world: World) -> set[Key]:
    found = set()
    while len(world.queue):
        key = await world.queue.get()
        world.queue.done(key)
        found.add(key)
    return found


def test_at_the_start_every_workspace_of_every_namespace_is_looked_at() -> None:
    async def scenario() -> None:
        world = World.with_workspace()
        other = elsewhere(world.cluster)
        await resync(world).first()
        assert await taken(world) == {KEY, other}

    run_virtually(scenario())


def test_only_the_given_namespaces_are_listed() -> None:
    async def scenario() -> None:
        world = World.with_workspace()
        elsewhere(world.cluster)
        await resync(world, NAMESPACE).first()
        assert await taken(world) == {KEY}
        assert {call.namespace for call in world.cluster.calls} == {NAMESPACE}

    run_virtually(scenario())


def test_the_start_waits_for_the_api_server_the_crd_and_the_rights() -> None:
    async def scenario() -> None:
        world = World.with_workspace()
        errors = (Unavailable(0, "no answer"), NotFound(404, "no such kind"), Forbidden(403, "no list"))
        world.cluster.faults = {number: Fault(error) for number, error in enumerate(errors)}
        await resync(world).first()
        assert await taken(world) == {KEY}

    run_virtually(scenario())


def test_a_workspace_whose_event_was_lost_is_found_and_one_that_is_gone_is_forgotten() -> None:
    async def scenario() -> None:
        world = World.with_workspace()
        await world.engine.reconcile(KEY)
        running = asyncio.create_task(resync(world).run(100))
        world.cluster.remove("SibylWorkspace", *KEY)
        new = elsewhere(world.cluster)
        await asyncio.sleep(99)
        assert len(world.queue) == 0
        await asyncio.sleep(2)
        assert await taken(world) == {new}
        # The pass over the new one has superseded its turn; the other's comes in its own time.
        await asyncio.sleep(10)
        assert await taken(world) == {KEY}
        assert not world.cache.is_listed(KEY)
        running.cancel()

    run_virtually(scenario())


def test_a_resync_that_fails_is_made_up_for_by_the_next() -> None:
    async def scenario() -> None:
        world = World.with_workspace()
        world.cluster.faults[0] = Fault(Unavailable(0, "no answer"))
        running = asyncio.create_task(resync(world).run(100))
        await asyncio.sleep(150)
        assert await taken(world) == set()
        await asyncio.sleep(100)
        assert await taken(world) == {KEY}
        running.cancel()

    run_virtually(scenario())
