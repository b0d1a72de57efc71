"""One pass: what it does with a workspace in each of its conditions, and when it wants to come back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from sibyl_operator.kube import Unavailable
from sibyl_operator.observed import DatabaseFacts, KpiFacts, TargetFacts
from tests.fakes.cluster import Fault
from tests.fakes.world import KEY, NAMESPACE, RUNTIME, World


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A pass blocks nobody: neither files, nor sockets, nor sleeps."""
    with blockbuster_ctx() as blockbuster:
        yield blockbuster


async def test_while_pods_are_awaited_it_comes_back_soon() -> None:
    world = World.with_workspace()
    outcome = await world.reconcile()
    assert (outcome.result, outcome.requeue_after) == ("waiting", 3)


async def test_what_is_awaited_for_long_is_looked_at_less_often() -> None:
    world = World.with_workspace()
    await world.reconcile()
    condition = world.condition("Ready")
    long_ago = {**condition, "lastTransitionTime": "2030-01-01T11:54:59Z"}
    world.cluster.edit("SibylWorkspace", NAMESPACE, KEY.name, lambda live: live["status"].update(conditions=[long_ago]))
    assert (await world.reconcile()).requeue_after == 15


async def test_at_steady_state_it_comes_back_to_scrape() -> None:
    world = World.with_workspace()
    outcome = await world.converge()
    assert (outcome.result, outcome.requeue_after) == ("ready", 15)


async def test_an_unreachable_database_is_told_and_asked_again() -> None:
    world = World.with_workspace()
    world.observer.database_facts = DatabaseFacts(False, "connection refused")
    outcome = await world.converge()
    assert outcome.requeue_after == 3
    assert "connection refused" in world.condition("Ready")["message"]
    assert world.child("Deployment")["spec"]["replicas"] == 3


async def test_measured_indicators_reach_the_status() -> None:
    world = World.with_workspace()
    await world.converge()
    targets = (TargetFacts("cpu_usage", 70.0, 42.0, True),)
    world.observer.kpi_facts = KpiFacts(0.1, 0.41, 0.9, 12.5, 0.0, 0.5, 3, 3, 300, targets)
    await world.reconcile()
    told = world.child("SibylWorkspace", KEY.name)["status"]["kpis"]
    assert (told["p95"], told["targets"]) == (
        "0.41s", [{"name": "cpu_usage", "target": "70", "value": "42", "met": True}]
    )  # fmt: skip
    assert [kpi.name for kpi in world.observer.kpis_asked] == ["p50_latency", "p95_latency", "p99_latency"]


async def test_noise_of_an_indicator_writes_nothing() -> None:
    world = World.with_workspace()
    await world.converge()
    for index, value in enumerate((42.0, 42.9, 41.2, 42.4)):
        targets = (TargetFacts("cpu_usage", 70.0, value, True),)
        world.observer.kpi_facts = KpiFacts(0.1, 0.41, 0.9, 12.5, 0.0, 0.5, 3, 3, 300, targets)
        before = len(world.cluster.writes)
        await world.reconcile()
        assert len(world.cluster.writes) - before == (1 if index == 0 else 0)


async def test_an_invalid_workspace_leaves_the_children_alone_and_waits_for_a_change() -> None:
    world = World.with_workspace()
    await world.converge()
    world.change_spec(workspace={"pipelinez": {}})
    before = len(world.cluster.calls)
    outcome = await world.reconcile()
    assert (outcome.result, outcome.requeue_after, outcome.retry) == ("stalled", None, False)
    assert {call.kind for call in world.cluster.calls[before:]} == {"SibylWorkspace", "Event"}
    assert "spec.workspace.pipelinez" in world.condition("Stalled")["message"]
    world.change_spec(workspace={"name": "better"})
    assert (await world.converge()).result == "ready"


async def test_a_suspended_workspace_is_watched_and_not_touched() -> None:
    world = World.with_workspace()
    await world.converge()
    world.change_spec(suspend=True, runtime={"replicas": 1})
    world.cluster.remove("Service", NAMESPACE, RUNTIME)
    before = len(world.cluster.writes)
    outcome = await world.reconcile()
    assert (outcome.result, outcome.requeue_after) == ("paused", 15)
    assert world.condition("Paused")["status"] == "True"
    assert {(call.kind, call.subresource) for call in world.cluster.writes[before:]} == {("SibylWorkspace", "status")}
    assert world.condition("Ready")["status"] == "False"
    world.change_spec(suspend=None)
    assert (await world.converge()).result == "ready"
    assert world.condition("Paused") == {}
    assert world.child("Deployment")["spec"]["replicas"] == 1


async def test_a_suspended_workspace_is_ready_for_as_long_as_it_is_as_specified() -> None:
    world = World.with_workspace()
    await world.converge()
    world.change_spec(suspend=True)
    await world.reconcile()
    assert world.condition("Ready")["reason"] == "Serving"
    world.cluster.remove("PodDisruptionBudget", NAMESPACE, RUNTIME)
    await world.reconcile()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "False",
        "Suspended",
        f"not as specified: PodDisruptionBudget {RUNTIME}; set spec.suspend to false to apply the spec",
    )


async def test_a_workspace_that_was_suspended_from_the_start_gets_no_children() -> None:
    world = World.with_workspace({"suspend": True})
    await world.converge()
    assert {call.kind for call in world.cluster.writes} == {"SibylWorkspace"}


async def test_a_missing_workspace_is_forgotten() -> None:
    world = World()
    assert (await world.reconcile()).result == "gone"
    assert world.observer.forgotten == [KEY]


@pytest.mark.parametrize("call", [0, 1, 2, 8])
async def test_an_api_server_that_cannot_be_read_fails_the_pass(call: int) -> None:
    world = World.with_workspace()
    await world.converge()
    world.restart()
    world.cluster.faults[len(world.cluster.calls) + call] = Fault(Unavailable(0, "no answer"))
    with pytest.raises(Unavailable):
        await world.reconcile()


async def test_a_new_image_rolls_the_pods_and_the_status_follows() -> None:
    world = World.with_workspace()
    await world.converge()
    world.change_spec(workspace={"name": "demo", "mcp": {"port": 8123}})
    assert (await world.reconcile()).result == "waiting"
    assert world.condition("ConfigApplied")["status"] == "False"
    assert (await world.converge()).result == "ready"
    assert world.condition("ConfigApplied")["status"] == "True"
