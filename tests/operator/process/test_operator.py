"""One operator from standby to its end: what it does in which order, and how it tells why it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from sibyl_operator.kube import KubeError, Unavailable
from sibyl_operator.process.exit_codes import ExitCode
from sibyl_operator.process.health import Health
from sibyl_operator.process.lease import LeaderElection, LeaseSpec
from sibyl_operator.process.operator import Operator
from sibyl_operator.process.resync import Resync
from sibyl_operator.reconcile.workers import Workers
from tests.fakes.cluster import Call, FakeCluster
from tests.fakes.virtual_time import run_virtually
from tests.fakes.world import KEY, World


@dataclass
class ScriptedWatcher:
    """Watches nothing until told to end."""

    ends: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    stopped: bool = False

    async def run(self) -> None:
        try:
            await self.ends.wait()
        finally:
            self.stopped = True
        if self.error is not None:
            raise self.error


@dataclass
class Running:
    """An operator over a fake cluster, and what a test needs to push it around."""

    world: World
    watcher: ScriptedWatcher
    operator: Operator
    stop: asyncio.Event
    task: asyncio.Task[ExitCode]

    @property
    def health(self) -> Health:
        return self.operator.health

    @property
    def holder(self) -> str:
        lease = self.world.cluster.peek("Lease", "ops", "lease")
        return "" if lease is None else str(lease["spec"]["holderIdentity"])

    async def ended(self) -> ExitCode:
        return await asyncio.wait_for(self.task, 1000)


class LoopClock:
    """Wall-clock time that goes with the loop."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(asyncio.get_running_loop().time(), UTC)


def start(*, elects: bool = True, grace: float = 20.0, name: str = "me", cluster: FakeCluster | None = None) -> Running:
    world = World.with_workspace() if cluster is None else World(cluster)
    watcher, stop = ScriptedWatcher(), asyncio.Event()
    election = LeaderElection(world.cluster, LeaseSpec("ops", "lease", name), LoopClock(), jitter=lambda: 0.5)
    operator = Operator(
        queue=world.queue,
        workers=Workers(world.queue, world.engine, world.metrics, count=2, deadline=500),
        resync=Resync(world.cluster, world.cache, world.queue, world.triggers, namespaces=()),
        watcher=watcher,
        election=election if elects else None,
        health=Health(),
        metrics=world.metrics,
        resync_interval=600,
        shutdown_grace=grace,
    )
    return Running(world, watcher, operator, stop, asyncio.create_task(operator.run(stop)))


def check(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtually(scenario())


def leads(running: Running) -> bool:
    return "sibyl_leader 1.0" in running.world.metrics.exposition().decode()


def hold_up(running: Running) -> asyncio.Event:
    """Make every pass wait, in the middle, until told to go on."""
    go_on, facts = asyncio.Event(), running.world.observer.database_facts

    async def database(namespace: str, name: str, dsn: str) -> Any:
        await go_on.wait()
        return facts

    running.world.observer.database = database  # type: ignore[method-assign]
    return go_on


def test_it_leads_works_and_stops_when_asked() -> None:
    async def scenario() -> None:
        running = start()
        assert running.health.state == "starting"
        await asyncio.sleep(1)
        assert (running.health.state, running.holder, leads(running)) == ("leading", "me", True)
        assert running.world.condition("ConfigValid")["status"] == "True"
        running.stop.set()
        assert await running.ended() is ExitCode.STOPPED
        assert (running.health.state, running.holder, leads(running)) == ("stopping", "", False)
        assert running.watcher.stopped

    check(scenario)


def test_it_stands_by_while_another_leads_and_can_be_stopped_there() -> None:
    async def scenario() -> None:
        other = start()
        await asyncio.sleep(1)
        standing_by = start(name="second", cluster=other.world.cluster)
        await asyncio.sleep(100)
        assert (standing_by.health.state, standing_by.health.ready) == ("standby", True)
        standing_by.stop.set()
        assert await standing_by.ended() is ExitCode.STOPPED
        assert other.holder == "me"
        other.stop.set()
        await other.ended()


def test_one_that_stands_by_goes_on_where_the_other_stopped() -> None:
    async def scenario() -> None:
        other = start()
        await asyncio.sleep(1)
        standing_by = start(name="second", cluster=other.world.cluster)
        other.stop.set()
        await other.ended()
        await asyncio.sleep(3)
        assert (standing_by.health.state, standing_by.holder) == ("leading", "second")
        standing_by.stop.set()
        await standing_by.ended()

    check(scenario)


def test_without_an_election_it_works_at_once_and_takes_no_lease() -> None:
    async def scenario() -> None:
        running = start(elects=False)
        await asyncio.sleep(1)
        assert running.health.state == "leading"
        running.stop.set()
        assert await running.ended() is ExitCode.STOPPED
        assert not [call for call in running.world.cluster.calls if call.kind == "Lease"]

    check(scenario)


def test_a_lost_lease_ends_it_at_once_and_passes_are_cut_off() -> None:
    async def scenario() -> None:
        running = start()
        hold_up(running)
        await asyncio.sleep(1)
        running.world.cluster.edit("Lease", "ops", "lease", lambda live: live["spec"].update(holderIdentity="other"))
        before = len(running.world.cluster.writes)
        assert await running.ended() is ExitCode.LEADERSHIP_LOST
        assert asyncio.get_running_loop().time() < 5
        assert running.world.cluster.writes[before:] == ()
        assert (running.holder, leads(running)) == ("other", False)

    check(scenario)


def test_an_api_server_that_is_gone_too_long_costs_the_lead() -> None:
    def gone(call: Call) -> KubeError | None:
        asked.append(asyncio.get_running_loop().time())
        return Unavailable(0, "no answer") if call.kind == "Lease" else None

    async def scenario() -> None:
        running = start()
        await asyncio.sleep(1)
        running.world.cluster.deny = gone
        assert await running.ended() is ExitCode.LEADERSHIP_LOST
        lost = asyncio.get_running_loop().time()
        assert lost < 12
        # The last request is the one that failed: a Lease that was lost is not even asked for again.
        assert asked.count(lost) == 1

    asked: list[float] = []

    check(scenario)


@pytest.mark.parametrize("error", [None, ZeroDivisionError("a mistake")])
def test_a_watcher_that_ends_by_itself_is_a_failure_and_the_lease_is_released(error: Exception | None) -> None:
    async def scenario() -> None:
        running = start()
        await asyncio.sleep(1)
        running.watcher.error = error
        running.watcher.ends.set()
        assert await running.ended() is ExitCode.FAILED
        assert running.holder == ""

    check(scenario)


def test_a_pass_under_way_is_finished_before_the_lease_is_released() -> None:
    async def scenario() -> None:
        running = start()
        go_on = hold_up(running)
        await asyncio.sleep(1)
        running.stop.set()
        await asyncio.sleep(12)
        assert (running.holder, running.task.done()) == ("me", False)
        go_on.set()
        assert await running.ended() is ExitCode.STOPPED
        assert running.world.condition("ConfigValid")["status"] == "True"
        assert running.holder == ""

    check(scenario)


def test_a_pass_that_takes_longer_than_the_grace_is_cut_off() -> None:
    async def scenario() -> None:
        running = start(grace=7)
        hold_up(running)
        await asyncio.sleep(1)
        running.stop.set()
        assert await running.ended() is ExitCode.STOPPED
        assert asyncio.get_running_loop().time() == 8
        assert running.world.condition("ConfigValid") == {}
        assert running.holder == ""

    check(scenario)


def test_a_lease_lost_while_finishing_ends_it_at_once() -> None:
    async def scenario() -> None:
        running = start()
        hold_up(running)
        await asyncio.sleep(1)
        running.stop.set()
        await asyncio.sleep(1)
        running.world.cluster.edit("Lease", "ops", "lease", lambda live: live["spec"].update(holderIdentity="other"))
        assert await running.ended() is ExitCode.LEADERSHIP_LOST
        assert running.holder == "other"

    check(scenario)


def test_it_is_not_ready_before_all_workspaces_were_listed() -> None:
    async def scenario() -> None:
        running = start()
        running.world.cluster.deny = lambda call: (
            Unavailable(0, "no answer") if (call.verb, call.kind) == ("list", "SibylWorkspace") else None
        )
        await asyncio.sleep(30)
        assert (running.health.state, running.health.ready) == ("syncing", False)
        running.world.cluster.deny = lambda _call: None
        await asyncio.sleep(60)
        assert running.health.ready
        running.stop.set()
        assert await running.ended() is ExitCode.STOPPED

    check(scenario)


def test_a_key_is_reconciled_again_and_again_at_its_interval() -> None:
    async def scenario() -> None:
        running = start()
        await asyncio.sleep(100)
        passes = [call for call in running.world.cluster.calls if (call.verb, call.kind) == ("get", "SibylWorkspace")]
        assert 30 <= len(passes) <= 40, "every 3 s while pods are awaited"
        assert {call.name for call in passes} == {KEY.name}
        running.stop.set()
        await running.ended()

    check(scenario)
