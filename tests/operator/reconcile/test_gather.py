"""Secrets: read by name, reduced to facts, and never seen again."""

from __future__ import annotations

from sibyl_operator.kube import Forbidden
from sibyl_operator.reconcile.gather import secret_facts
from tests.fakes.world import DSN, NAMESPACE, World, secret

NEEDED = frozenset({"dsn"})


def test_facts_are_existence_keys_and_a_digest() -> None:
    facts = secret_facts("db", secret("db", dsn=DSN, other="x"), NEEDED)
    assert (facts.exists, facts.keys) == (True, frozenset({"dsn", "other"}))
    assert DSN not in repr(facts)
    assert secret_facts("db", None, NEEDED).exists is False


def test_the_digest_moves_with_needed_values_and_with_nothing_else() -> None:
    base = secret_facts("db", secret("db", dsn=DSN), NEEDED).digest
    assert secret_facts("db", secret("db", dsn=DSN, other="x"), NEEDED).digest == base
    changed = {
        secret_facts("db", secret("db", dsn=f"{DSN}x"), NEEDED).digest,
        secret_facts("other", secret("other", dsn=DSN), NEEDED).digest,
        secret_facts("db", secret("db", other=DSN), NEEDED).digest,
        secret_facts("db", secret("db", dsn=DSN, other="x"), NEEDED | {"other"}).digest,
        base,
    }
    assert len(changed) == 5


async def test_a_new_password_reaches_the_pods() -> None:
    world = World.with_workspace()
    await world.converge()
    before = world.child("Deployment")["spec"]["template"]["metadata"]["annotations"]
    world.cluster.put(secret("db", dsn="postgresql://sibyl:new@db:5432/sibyl"))
    await world.converge()
    after = world.child("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert before["sibyl.dev/secrets-hash"] != after["sibyl.dev/secrets-hash"]
    assert before["sibyl.dev/config-hash"] == after["sibyl.dev/config-hash"]


async def test_the_password_goes_to_the_probe_and_nowhere_else() -> None:
    world = World.with_workspace()
    await world.converge()
    assert world.observer.dsns[-1] == DSN
    objects = {ref: live for ref, live in world.cluster.everything().items() if ref[0] != "Secret"}
    for text in (repr(objects), repr(world.cluster.events), world.metrics.exposition().decode()):
        assert "correct-horse" not in text


async def test_a_missing_secret_is_waited_for_and_found_when_it_comes() -> None:
    world = World.with_workspace()
    world.cluster.remove("Secret", NAMESPACE, "db")
    outcome = await world.reconcile()
    assert outcome.requeue_after is not None
    assert outcome.requeue_after <= 15
    assert world.condition("DatabaseReady")["reason"] == "SecretNotFound"
    assert world.observer.dsns == []
    world.cluster.put(secret())
    assert (await world.converge()).result == "ready"


async def test_a_secret_that_may_not_be_read_leaves_the_children_alone_and_is_told() -> None:
    world = World.with_workspace()
    await world.converge()
    world.change_spec(runtime={"replicas": 2})
    world.cluster.deny = lambda call: Forbidden(403, "no get on secrets") if call.kind == "Secret" else None
    before = world.child("Deployment")["metadata"]["generation"]
    outcome = await world.reconcile()
    assert (outcome.result, outcome.requeue_after) == ("stalled", 60)
    assert world.child("Deployment")["metadata"]["generation"] == before
    assert "read db: no get on secrets" in world.condition("RuntimeReady")["message"]


async def test_a_secret_is_never_listed() -> None:
    world = World.with_workspace()
    await world.converge()
    assert {call.verb for call in world.cluster.calls if call.kind == "Secret"} == {"get"}
    assert {call.name for call in world.cluster.calls if call.kind == "Secret"} == {"db"}
