"""Secrets and ConfigMaps: read by name, reduced to facts, and never seen again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from sibyl_operator.api.sources import Source
from sibyl_operator.kube import Forbidden, Manifest
from sibyl_operator.observed import Endpoint
from sibyl_operator.reconcile.gather import source_facts
from tests.fakes.world import DSN, NAMESPACE, World, config_map, secret

Kind = Literal["ConfigMap", "Secret"]
Write = Callable[..., Manifest]

NEEDED = frozenset({"dsn"})
SETTINGS = Source("ConfigMap", "settings")
ENV = [{"name": "LEVEL", "configMapKeyRef": {"name": "settings", "key": "level"}}]
# Each kind with one way to write an object of it: what holds for one holds for the other.
BOTH = pytest.mark.parametrize(("kind", "write"), [("Secret", secret), ("ConfigMap", config_map)])


@BOTH
def test_facts_are_existence_keys_a_digest_and_where_an_address_points(kind: Kind, write: Write) -> None:
    source = Source(kind, "db")
    facts = source_facts(source, write("db", dsn=DSN, other="x"), NEEDED)
    assert (facts.exists, facts.keys) == (True, frozenset({"dsn", "other"}))
    assert facts.endpoints == {"dsn": (Endpoint("db", 5432),)}
    assert DSN not in repr(facts)
    assert source_facts(source, None, NEEDED).exists is False


@BOTH
def test_the_digest_moves_with_needed_values_and_with_nothing_else(kind: Kind, write: Write) -> None:
    source, other = Source(kind, "db"), Source(kind, "other")
    base = source_facts(source, write("db", dsn=DSN), NEEDED).digest
    assert source_facts(source, write("db", dsn=DSN, other="x"), NEEDED).digest == base
    changed = {
        source_facts(source, write("db", dsn=f"{DSN}x"), NEEDED).digest,
        source_facts(other, write("other", dsn=DSN), NEEDED).digest,
        source_facts(source, write("db", other=DSN), NEEDED).digest,
        source_facts(source, write("db", dsn=DSN, other="x"), NEEDED | {"other"}).digest,
        base,
    }
    assert len(changed) == 5


def test_the_digest_of_a_secret_stays_what_it_was() -> None:
    """Another one would restart all pods of an installation that is upgraded."""
    held = secret("docs-database", dsn="postgresql://sibyl:pw@db:5432/sibyl")
    digest = source_facts(Source("Secret", "docs-database"), held, NEEDED).digest
    assert digest == "1ae84f8b4a1743279d5894eae6ab0b551edb317807afcaf5d2db65f3fe3b9502"


def test_what_a_config_map_holds_as_bytes_is_not_there() -> None:
    """The kubelet takes no variable from binaryData: the pod would not start."""
    held = {**config_map("settings"), "binaryData": {"level": "aW5mbw=="}}
    facts = source_facts(SETTINGS, held, frozenset({"level"}))
    assert (facts.exists, facts.keys) == (True, frozenset())


def hashes(world: World) -> dict[str, str]:
    """The annotations of the pods, which move when the pods must be replaced."""
    found: dict[str, str] = world.child("Deployment")["spec"]["template"]["metadata"]["annotations"]
    return found


async def test_a_new_password_reaches_the_pods() -> None:
    world = World.with_workspace()
    await world.converge()
    before = hashes(world)
    world.cluster.put(secret("db", dsn="postgresql://sibyl:new@db:5432/sibyl"))
    await world.converge()
    after = hashes(world)
    assert before["sibyl.dev/secrets-hash"] != after["sibyl.dev/secrets-hash"]
    assert before["sibyl.dev/config-hash"] == after["sibyl.dev/config-hash"]


async def test_a_new_setting_reaches_the_pods_unless_nothing_needs_it_or_the_workspace_is_suspended() -> None:
    world = World.with_workspace({"runtime": {"env": ENV}})
    world.cluster.put(config_map("settings", level="info"))
    await world.converge()
    before = hashes(world)
    world.cluster.put(config_map("settings", level="info", colour="blue"))
    await world.converge()
    assert hashes(world) == before
    world.change_spec(suspend=True)
    world.cluster.put(config_map("settings", level="debug"))
    await world.converge()
    assert hashes(world) == before
    world.change_spec(suspend=None)
    await world.converge()
    assert hashes(world)["sibyl.dev/secrets-hash"] != before["sibyl.dev/secrets-hash"]
    assert hashes(world)["sibyl.dev/config-hash"] == before["sibyl.dev/config-hash"]


async def test_a_missing_config_map_is_waited_for_and_found_when_it_comes() -> None:
    world = World.with_workspace({"runtime": {"env": ENV}})
    outcome = await world.reconcile()
    assert outcome.requeue_after is not None
    assert outcome.requeue_after <= 15
    assert world.condition("RuntimeReady")["reason"] == "ConfigMapNotFound"
    world.cluster.put(config_map("settings", colour="blue"))
    await world.reconcile()
    assert world.condition("RuntimeReady")["reason"] == "ConfigMapKeyMissing"
    world.cluster.put(config_map("settings", level="info"))
    assert (await world.converge()).result == "ready"


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


@pytest.mark.parametrize(
    ("source", "plural"), [(Source("Secret", "db"), "secrets"), (SETTINGS, "configmaps")], ids=["Secret", "ConfigMap"]
)
async def test_a_source_that_may_not_be_read_leaves_the_children_alone_and_is_told(source: Source, plural: str) -> None:
    world = World.with_workspace({"runtime": {"env": ENV}})
    world.cluster.put(config_map("settings", level="info"))
    await world.converge()
    world.change_spec(runtime={"replicas": 2, "env": ENV})
    refused = Forbidden(403, f"no get on {plural}")
    world.cluster.deny = lambda call: refused if (call.kind, call.name) == source else None
    before = world.child("Deployment")["metadata"]["generation"]
    outcome = await world.reconcile()
    assert (outcome.result, outcome.requeue_after) == ("stalled", 60)
    assert world.child("Deployment")["metadata"]["generation"] == before
    assert f"{source.kind}: read {source.name}: no get on {plural}" in world.condition("RuntimeReady")["message"]


async def test_a_secret_that_may_not_be_made_is_told_as_that_with_the_quota_as_the_step() -> None:
    world = World.with_workspace({"cache": {"provider": "Builtin"}})
    refused = Forbidden(403, "exceeded quota: small, requested: count/secrets=1")
    world.cluster.deny = lambda call: refused if (call.kind, call.verb) == ("Secret", "create") else None
    await world.reconcile()
    assert world.condition("RuntimeReady")["message"] == (
        "Secret: create demo-cache: exceeded quota: small, requested: count/secrets=1; raise the quota that is named"
    )


async def test_a_secret_is_never_listed() -> None:
    world = World.with_workspace()
    await world.converge()
    assert {call.verb for call in world.cluster.calls if call.kind == "Secret"} == {"get"}
    assert {call.name for call in world.cluster.calls if call.kind == "Secret"} == {"db"}


async def test_a_config_map_that_a_workspace_names_is_read_by_name() -> None:
    world = World.with_workspace({"runtime": {"env": ENV}})
    world.cluster.put(config_map("settings", level="info"))
    await world.converge()
    assert {call.verb for call in world.cluster.calls if (call.kind, call.name) == SETTINGS} == {"get"}
