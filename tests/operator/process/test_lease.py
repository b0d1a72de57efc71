"""Leadership: never two at once, handed over when released, taken over when silent, given up when in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sibyl_operator.kube import Conflict, KubeError, Manifest, Unavailable
from sibyl_operator.process.lease import LeaderElection, LeadershipLost, LeaseSpec, micro_time
from tests.fakes.cluster import Call, FakeCluster, Fault
from tests.fakes.virtual_time import run_virtually

OUTAGE = Unavailable(0, "no answer")


class SkewedClock:
    """A wall clock that goes, but is wrong by some hours."""

    def __init__(self, hours: float = 0) -> None:
        self._hours = hours

    def now(self) -> datetime:
        return datetime(2030, 1, 1, 12, tzinfo=UTC) + timedelta(hours=self._hours, seconds=now())


class HangingCluster(FakeCluster):
    """Answers no more once told to hang."""

    hangs = False

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        if self.hangs:
            await asyncio.Event().wait()
        return await super().get(kind, namespace, name)


def candidate(cluster: FakeCluster, name: str, hours: float = 0) -> LeaderElection:
    return LeaderElection(cluster, LeaseSpec("ops", "lease", name), SkewedClock(hours), jitter=lambda: 0.5)


def lease(cluster: FakeCluster) -> Manifest:
    found = cluster.peek("Lease", "ops", "lease")
    assert found is not None
    return found


def now() -> float:
    return asyncio.get_running_loop().time()


def outage(refused: Callable[[Call], bool] = lambda _call: True) -> Callable[[Call], KubeError | None]:
    return lambda call: OUTAGE if refused(call) else None


def test_the_first_candidate_makes_the_lease_with_utc_micro_times() -> None:
    cluster = FakeCluster()
    run_virtually(candidate(cluster, "a").acquire())
    assert lease(cluster)["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 0,
        "acquireTime": "2030-01-01T12:00:00.000000Z",
        "renewTime": "2030-01-01T12:00:00.000000Z",
    }
    assert micro_time(datetime(2030, 5, 6, 7, 8, 9, 12, tzinfo=UTC)) == "2030-05-06T07:08:09.000012Z"


def test_a_silent_holder_is_replaced_after_its_duration_on_our_own_clock() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        await candidate(cluster, "a", hours=7).acquire()
        await candidate(cluster, "b", hours=-7).acquire()
        assert 15 < now() < 20
        spec = lease(cluster)["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)

    run_virtually(scenario())


def test_while_the_holder_renews_nobody_takes_over() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        holding = asyncio.create_task(leader.hold())
        waiting = asyncio.create_task(candidate(cluster, "b", hours=24).acquire())
        await asyncio.wait([holding, waiting], timeout=3600)
        assert not holding.done()
        assert not waiting.done()
        spec = lease(cluster)["spec"]
        assert (spec["acquireTime"], spec["leaseTransitions"]) == ("2030-01-01T12:00:00.000000Z", 0)
        for task in (holding, waiting):
            task.cancel()

    run_virtually(scenario())


def test_a_released_lease_is_taken_at_once() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        waiting = asyncio.create_task(candidate(cluster, "b").acquire())
        await asyncio.sleep(1)
        await leader.release()
        await waiting
        assert now() < 3
        await leader.release()
        assert lease(cluster)["spec"]["holderIdentity"] == "b"

    run_virtually(scenario())


def test_a_restarted_holder_of_the_same_name_goes_on_without_a_transition() -> None:
    cluster = FakeCluster()
    run_virtually(candidate(cluster, "a").acquire())
    run_virtually(candidate(cluster, "a").acquire())
    assert lease(cluster)["spec"]["leaseTransitions"] == 0


def test_an_outage_is_survived_up_to_the_renew_deadline() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        holding = asyncio.create_task(leader.hold())
        await asyncio.sleep(5)
        cluster.deny = outage()
        await asyncio.sleep(8)
        cluster.deny = lambda _call: None
        await asyncio.sleep(60)
        assert not holding.done()
        cluster.deny = outage()
        broken = now()
        with pytest.raises(LeadershipLost, match="could not renew for 10 s"):
            await holding
        # Before anybody else may take over, who counts 15 s from the last renewal.
        assert now() - broken <= 10

    run_virtually(scenario())


def test_a_request_that_hangs_does_not_hide_the_deadline() -> None:
    async def scenario() -> None:
        cluster = HangingCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        cluster.hangs = True
        with pytest.raises(LeadershipLost):
            await leader.hold()
        assert now() == 10

    run_virtually(scenario())


def test_a_holder_that_finds_another_gives_up_at_once() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        cluster.edit("Lease", "ops", "lease", lambda live: live["spec"].update(holderIdentity="b"))
        with pytest.raises(LeadershipLost, match="taken over by b"):
            await leader.hold()
        assert now() == 2

    run_virtually(scenario())


def test_of_two_candidates_that_write_at_once_one_wins() -> None:
    async def scenario() -> None:
        cluster = FakeCluster(faults={1: Fault(Conflict(409, "raced"))})
        await candidate(cluster, "a").acquire()
        assert now() > 0
        assert lease(cluster)["spec"]["holderIdentity"] == "a"

    run_virtually(scenario())


def test_a_deleted_lease_is_made_anew() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        cluster.remove("Lease", "ops", "lease")
        holding = asyncio.create_task(leader.hold())
        await asyncio.sleep(3)
        assert lease(cluster)["spec"]["holderIdentity"] == "a"
        holding.cancel()

    run_virtually(scenario())


def test_a_release_that_hangs_holds_the_end_up_for_five_seconds_at_most() -> None:
    async def scenario() -> None:
        cluster = HangingCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        cluster.hangs = True
        await leader.release()
        assert now() == 5

    run_virtually(scenario())


def test_a_lease_that_cannot_be_released_is_waited_out() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        leader = candidate(cluster, "a")
        await leader.acquire()
        cluster.deny = outage(lambda call: call.verb == "update")
        await leader.release()
        assert lease(cluster)["spec"]["holderIdentity"] == "a"

    run_virtually(scenario())
