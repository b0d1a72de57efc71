"""A Builtin database in the life of a workspace: passwords, servers and slots, whatever changes around them."""

from __future__ import annotations

import pytest

from tests.fakes.world import NAMESPACE, RUNTIME, secret
from tests.operator.reconcile.test_convergence import DATABASE, LARGER_DATABASE, turn, world
from tests.operator.reconcile.test_convergence import known_password as known_password


async def test_passwords_are_made_once_and_survive_every_restart_and_change() -> None:
    made = world(DATABASE)
    await made.converge()
    before = {live["metadata"]["name"]: live for live in made.cluster.all("Secret", NAMESPACE)}
    assert {"demo-db-app", "demo-db-replication"} < before.keys()
    for spec in (LARGER_DATABASE, DATABASE):
        turn(made, spec)
        made.restart()
        await made.converge()
    assert {live["metadata"]["name"]: live for live in made.cluster.all("Secret", NAMESPACE)} == before
    verbs = {call.verb for call in made.cluster.calls if call.kind == "Secret"}
    assert verbs == {"create", "get"}


async def test_a_lost_password_is_made_anew_and_reaches_every_server_and_the_runtime() -> None:
    made = world(DATABASE)
    await made.converge()
    workloads = (("StatefulSet", "demo-db"), ("StatefulSet", "demo-db-replica"), ("Deployment", RUNTIME))
    before = [made.child(*workload)["spec"]["template"] for workload in workloads]
    made.cluster.remove("Secret", NAMESPACE, "demo-db-replication")
    made.cluster.put(secret("demo-db-app", username="sibyl", password="another"))
    made.cluster.edit(
        "Secret", NAMESPACE, "demo-db-app",
        lambda live: live["metadata"].update(ownerReferences=made.child(*workloads[0])["metadata"]["ownerReferences"]),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sibyl_operator.reconcile.gather.secrets.token_hex", lambda length: "6f" * length)
        await made.converge()
    after = [made.child(*workload)["spec"]["template"] for workload in workloads]
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, True, True]


async def test_a_password_of_the_replicas_alone_leaves_the_runtime_alone() -> None:
    made = world(DATABASE)
    await made.converge()
    before = made.child("Deployment")
    made.cluster.edit("Secret", NAMESPACE, "demo-db-replication", lambda live: live["data"].update(password="bmV3"))
    await made.converge()
    assert made.child("Deployment")["spec"] == before["spec"]


async def test_another_number_of_read_replicas_does_not_touch_the_primary() -> None:
    made = world(DATABASE)
    await made.converge()
    before = made.child("StatefulSet", "demo-db")
    made.change_spec(database={"provider": "Builtin", "readReplicas": 3})
    await made.converge()
    assert made.child("StatefulSet", "demo-db") == before
    assert made.child("StatefulSet", "demo-db-replica")["spec"]["replicas"] == 3


async def test_slots_are_tended_for_the_replicas_that_are_wanted_and_left_alone_while_suspended() -> None:
    made = world(DATABASE)
    await made.converge()
    assert made.observer.asked_of_slots[-1] == (2, True)
    made.change_spec(suspend=True, database={"provider": "Builtin"})
    await made.reconcile()
    assert made.observer.asked_of_slots[-1] == (0, False)
    assert {dsn.partition("@")[0].partition(":")[2] for dsn in made.observer.dsns} == {
        f"//sibyl:{'5e' * 24}", f"//sibyl_replication:{'5e' * 24}",
    }  # fmt: skip
