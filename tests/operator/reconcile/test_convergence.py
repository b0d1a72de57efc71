"""What must hold whatever happens: properties of the engine against the stateful fake of the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sibyl_operator.api.group import KIND
from sibyl_operator.api.resource import WorkspaceResource, read_resource
from sibyl_operator.desired import desired, referenced_sources
from sibyl_operator.kube import Conflict, KubeError, Manifest, TooManyRequests, Unavailable
from sibyl_operator.reconcile.cache import child_id
from sibyl_operator.reconcile.children import CHILD_KINDS
from sibyl_operator.reconcile.gather import source_facts
from tests.fakes import server_side_apply as ssa
from tests.fakes.cluster import Crash, FakeCluster, Fault
from tests.fakes.controllers import autoscale
from tests.fakes.world import CONFIG, KEY, NAME, NAMESPACE, RUNTIME, World, config_map, run, secret, workspace

Spec = Mapping[str, Any]

AUTOSCALED: Spec = {"runtime": {"autoscaling": {"minReplicas": 4, "maxReplicas": 9}}}
FIXED: Spec = {"runtime": {"replicas": 6}}
SINGLE: Spec = {"runtime": {"replicas": 1}}
CACHED: Spec = {"cache": {"provider": "External", "external": {"secretRef": {"name": "db", "key": "url"}}}}
BUILTIN_CACHE: Spec = {"cache": {"provider": "Builtin"}}
SMALL_CACHE: Spec = {"cache": {"provider": "Builtin", "memory": "64Mi"}, "runtime": {"replicas": 2}}
UNGUARDED: Spec = {"cache": {"provider": "Builtin"}, "networkPolicy": {"enabled": False}}
BIGGER: Spec = {"runtime": {"resources": {"requests": {"cpu": "2000m"}}, "podTemplate": {"labels": {"tier": "gold"}}}}
SET: Spec = {"runtime": {"env": [{"name": "LEVEL", "configMapKeyRef": {"name": "settings", "key": "level"}}]}}
DEFAULT: Spec = {}
CACHE = "demo-cache"
CACHE_KINDS = ("ServiceAccount", "ConfigMap", "NetworkPolicy", "Deployment", "Service")
DATABASE: Spec = {"database": {"provider": "Builtin", "readReplicas": 2}}
LARGER_DATABASE: Spec = {
    "database": {"provider": "Builtin", "resources": {"limits": {"memory": "4Gi"}}},
    "runtime": {"replicas": 6},
    "deletionPolicy": "Delete",
}
SPECS: tuple[Spec, ...] = (
    *(DEFAULT, AUTOSCALED, FIXED, SINGLE, CACHED, BUILTIN_CACHE, SMALL_CACHE, UNGUARDED, BIGGER),
    *(SET, DATABASE, LARGER_DATABASE),
)
DATABASE_CHILDREN = (
    ("ServiceAccount", "demo-db"),
    ("ConfigMap", "demo-db"),
    ("NetworkPolicy", "demo-db"),
    ("NetworkPolicy", "demo-db-replica"),
    ("StatefulSet", "demo-db"),
    ("StatefulSet", "demo-db-replica"),
    ("Service", "demo-db-rw"),
    ("Service", "demo-db-ro"),
    ("Service", "demo-db-replica"),
    ("PodDisruptionBudget", "demo-db-replica"),
)
EXTERNAL = {"provider": "External", "external": {"secretRef": {"name": "db"}}}
CHILDREN = tuple((kind, CONFIG if kind == "ConfigMap" else RUNTIME) for kind in CHILD_KINDS if kind != "StatefulSet")
EVERY_CHILD = (
    *((AUTOSCALED, *child) for child in CHILDREN),
    *((BUILTIN_CACHE, kind, CACHE) for kind in CACHE_KINDS),
    *((DATABASE, *child) for child in DATABASE_CHILDREN),
)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def known_password() -> Iterator[None]:
    """Two worlds are only alike when their passwords are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sibyl_operator.reconcile.gather.secrets.token_hex", lambda length: "5e" * length)
        yield


def world(spec: Spec = DEFAULT) -> World:
    made = World.with_workspace(spec)
    made.cluster.put(secret("db", dsn="postgresql://db/sibyl", url="redis://cache:6379/0"))
    made.cluster.put(config_map("settings", level="info"))
    return made


def turn(made: World, spec: Spec) -> None:
    """Change the workspace to another spec. No rule of the API server keeps the database's provider here."""
    made.change_spec(
        **{part: spec.get(part) for part in ("runtime", "cache", "networkPolicy", "deletionPolicy")},
        database=spec.get("database", EXTERNAL),
    )


def children(cluster: FakeCluster) -> dict[Any, Manifest]:
    """All children, without what only history explains: the number of pods that an autoscaler chose. The ConfigMap that
    the user made is none of them."""
    found = cluster.everything(*CHILD_KINDS)
    del found["ConfigMap", NAMESPACE, "settings"]
    scaled = ("HorizontalPodAutoscaler", NAMESPACE, RUNTIME) in found
    for (kind, _, _), live in found.items():
        live.pop("status", None)
        if kind == "Deployment" and scaled:
            live["spec"] = {name: value for name, value in live["spec"].items() if name != "replicas"}
    return found


async def settled(spec: Spec) -> dict[Any, Manifest]:
    """What a workspace with this spec ends in when nothing goes wrong."""
    made = world(spec)
    await made.converge()
    return children(made.cluster)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("restarted", [False, True])
async def test_at_steady_state_nothing_is_written_also_after_a_restart(spec: Spec, restarted: bool) -> None:
    made = world(spec)
    assert (await made.converge()).result == "ready"
    if restarted:
        made.restart()
    before = len(made.cluster.writes)
    for _ in range(3):
        await made.reconcile()
    assert made.cluster.writes[before:] == ()


async def test_at_steady_state_a_pass_asks_for_the_workspace_its_secrets_and_its_pods_only() -> None:
    made = world()
    await made.converge()
    before = len(made.cluster.calls)
    await made.reconcile()
    asked = [(call.verb, call.kind) for call in made.cluster.calls[before:]]
    assert asked == [("get", KIND), ("get", "Secret"), ("list", "Pod")]


@pytest.mark.parametrize(("spec", "kind", "name"), EVERY_CHILD)
async def test_a_deleted_child_is_restored(spec: Spec, kind: str, name: str) -> None:
    made = world(spec)
    await made.converge()
    before = children(made.cluster)
    made.cluster.remove(kind, NAMESPACE, name)
    made.deliver()
    assert len(made.queue) == 1, "its deletion did not ask for a pass"
    await made.drain()
    assert children(made.cluster) == before


@QUICK
@given(data=st.data())
def test_a_field_that_was_changed_or_removed_by_hand_is_restored(data: st.DataObject) -> None:
    async def scenario() -> None:
        made = world(data.draw(st.sampled_from((AUTOSCALED, FIXED, CACHED, BUILTIN_CACHE, DATABASE))))
        await made.converge()
        before = children(made.cluster)
        manifest = data.draw(st.sampled_from(wanted(made)))
        path = data.draw(st.sampled_from([path for path in ssa.leaves(manifest) if editable(path)]))
        removed = data.draw(st.booleans())
        made.cluster.edit(*reference(manifest), lambda live: spoil(live, path, removed=removed))
        made.deliver()
        await made.drain()
        await made.converge()
        assert children(made.cluster) == before, path

    run(scenario())


def wanted(made: World) -> list[Manifest]:
    resource = read_resource(made.child(KIND, NAME))
    assert isinstance(resource, WorkspaceResource)
    facts = {
        source: source_facts(source, made.cluster.peek(source.kind, NAMESPACE, source.name), keys)
        for source, keys in referenced_sources(resource).items()
    }
    return list(desired(resource, facts))


def reference(manifest: Manifest) -> tuple[str, str, str]:
    kind, name = child_id(manifest)
    return kind, NAMESPACE, name


def editable(path: ssa.Path) -> bool:
    """Not the owner (an object without it is not ours), not what the API server refuses to change."""
    return path[:2] not in (("metadata", "ownerReferences"), ("spec", "selector")) and not (
        path[-1] == ssa.ITEM or (len(path) > 1 and isinstance(path[-2], tuple) and path[-1] in dict(path[-2]))
    )


def spoil(live: Manifest, path: ssa.Path, *, removed: bool) -> None:
    value = ssa.read(live, path)
    if removed or isinstance(value, dict | list):
        ssa.remove(live, path)
    elif isinstance(value, bool):
        ssa.write(live, path, not value)
    else:
        ssa.write(live, path, value + 1 if isinstance(value, int) else f"{value}x")


@pytest.mark.parametrize(
    "rule",
    [
        lambda spec: spec.update(egress=[{}]),
        lambda spec: spec["ingress"].append({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}),
        lambda spec: spec["ingress"][0]["from"].append({"podSelector": {}}),
        lambda spec: spec["ingress"][0]["ports"].append({"protocol": "TCP", "port": 22}),
        lambda spec: spec["policyTypes"].remove("Egress"),
    ],
    ids=["way out", "way in", "peer", "port", "direction"],
)
async def test_a_policy_that_was_widened_by_hand_is_narrowed_again(rule: Callable[[Any], None]) -> None:
    made = world(BUILTIN_CACHE)
    await made.converge()
    before = children(made.cluster)
    made.cluster.edit("NetworkPolicy", NAMESPACE, CACHE, lambda live: rule(live["spec"]))
    await made.converge()
    assert children(made.cluster) == before


async def test_a_new_password_of_the_cache_replaces_its_pod_and_those_of_the_runtime() -> None:
    made = world(BUILTIN_CACHE)
    await made.converge()
    names = (RUNTIME, CACHE)
    before = [made.child("Deployment", name)["spec"]["template"] for name in names]
    made.cluster.edit("Secret", NAMESPACE, CACHE, lambda live: live["data"].update(password="bmV3"))
    await made.converge()
    after = [made.child("Deployment", name)["spec"]["template"] for name in names]
    assert [new != old for new, old in zip(after, before, strict=True)] == [True, True]
    assert made.condition("CacheReady")["status"] == "True"


async def test_the_number_of_pods_belongs_to_the_autoscaler_while_there_is_one() -> None:
    made = world(AUTOSCALED)
    await made.converge()
    autoscale(made.cluster, NAMESPACE, RUNTIME, 8)
    before = len(made.cluster.writes)
    await made.converge()
    assert made.child("Deployment")["spec"]["replicas"] == 8
    assert {call.kind for call in made.cluster.writes[before:]} <= {KIND}


async def test_a_fixed_number_of_pods_is_put_back() -> None:
    made = world(FIXED)
    await made.converge()
    autoscale(made.cluster, NAMESPACE, RUNTIME, 2)
    await made.converge()
    assert made.child("Deployment")["spec"]["replicas"] == 6


def crash_points(before: Spec | None, after: Spec) -> int:
    """How many calls the change takes when nothing goes wrong."""

    async def count() -> int:
        made = world(before if before is not None else after)
        if before is not None:
            await made.converge()
            turn(made, after)
        begun = len(made.cluster.calls)
        await made.converge()
        return len(made.cluster.calls) - begun

    return run(count())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, DEFAULT),
        (FIXED, AUTOSCALED),
        (AUTOSCALED, FIXED),
        (AUTOSCALED, SINGLE),
        (DEFAULT, CACHED),
        (None, BUILTIN_CACHE),
        (SMALL_CACHE, UNGUARDED),
        (None, DATABASE),
        (DATABASE, LARGER_DATABASE),
        (LARGER_DATABASE, DATABASE),
    ],
)
def test_a_crash_between_any_two_calls_ends_in_the_same_state(before: Spec | None, after: Spec) -> None:
    async def scenario(point: int, late: bool) -> None:
        made = world(before if before is not None else after)
        if before is not None:
            await made.converge()
            turn(made, after)
        made.cluster.faults[len(made.cluster.calls) + point] = Fault(Crash(), after=late)
        begun = len(made.cluster.watch_log)
        with pytest.raises(Crash):
            await made.converge()
        made.restart()
        await made.converge()
        assert children(made.cluster) == expected, f"crash at call {point}"
        assert made.condition("Ready")["status"] == "True"
        if before == FIXED:
            assert fewest_pods(made, begun) == 6

    expected = run(settled(after))
    points = crash_points(before, after)
    assert points > 8
    for point in range(points):
        for late in (False, True):
            run(scenario(point, late))


def fewest_pods(made: World, since: int) -> int:
    """The lowest number of pods that the Deployment was ever told to have."""
    events = made.cluster.watch_log[since:]
    counts: list[int] = [live["spec"]["replicas"] for _, live in events if child_id(live) == ("Deployment", RUNTIME)]
    return min(counts)


@QUICK
@given(st.lists(st.sampled_from(SPECS), min_size=1, max_size=6))
def test_any_sequence_of_changes_leaves_what_the_last_one_wants_and_no_orphan(specs: list[Spec]) -> None:
    async def scenario() -> None:
        made = world(specs[0])
        for spec in specs:
            turn(made, spec)
            await made.converge()
        assert children(made.cluster) == await settled(specs[-1])

    run(scenario())


@pytest.mark.parametrize("lost", [False, True])
@QUICK
@given(specs=st.lists(st.sampled_from(SPECS), min_size=1, max_size=4), random=st.randoms(use_true_random=False))
def test_events_in_any_order_repeated_or_lost_end_in_the_same_state(specs: list[Spec], random: Any, lost: bool) -> None:
    async def scenario() -> None:
        made = world(specs[0])
        await made.converge()
        begun = len(made.cluster.watch_log)
        for spec in specs:
            turn(made, spec)
            kind, name = random.choice(CHILDREN)
            made.cluster.remove(kind, NAMESPACE, name)
            if random.random() < 0.5:
                await made.engine.reconcile(KEY)
            happened = made.cluster.watch_log[begun:]
            # Drawn with repetition: some come twice, some never, in any order.
            drawn = [random.choice(happened) for _ in happened]
            made.hear(drawn if lost else random.sample([*happened, *drawn], k=2 * len(happened)))
            made.miss()
        if lost:
            # A resync lists what the watch lost.
            made.cache.expire(KEY)
        await made.converge()
        assert children(made.cluster) == await settled(specs[-1])

    run(scenario())


ERRORS: tuple[KubeError, ...] = (
    Conflict(409, "the object has been modified"),
    TooManyRequests(429, "too many requests", retry_after=1.0),
    Unavailable(500, "etcd has no leader"),
    Unavailable(0, "no answer within 30 s"),
)


@QUICK
@given(
    st.sampled_from(((None, DEFAULT), (FIXED, AUTOSCALED), (AUTOSCALED, SINGLE))),
    st.dictionaries(st.integers(0, 40), st.tuples(st.sampled_from(ERRORS), st.booleans()), max_size=12),
)
def test_any_sequence_of_refusals_is_outlived(
    change: tuple[Spec | None, Spec], refusals: dict[int, tuple[KubeError, bool]]
) -> None:
    async def scenario() -> None:
        before, after = change
        made = world(before if before is not None else after)
        if before is not None:
            await made.converge()
            turn(made, after)
        begun, calls = len(made.cluster.watch_log), len(made.cluster.calls)
        for point, (error, late) in refusals.items():
            made.cluster.faults[calls + point] = Fault(error, late)
        for _ in range(2 * len(refusals) + 1):
            # Whatever surfaces, the worker tries again.
            with suppress(KubeError):
                await made.reconcile()
        made.cluster.faults.clear()
        await made.converge()
        assert children(made.cluster) == await settled(after)
        if before == FIXED:
            assert fewest_pods(made, begun) == 6

    run(scenario())


@pytest.mark.parametrize(("spec", "kind", "name"), EVERY_CHILD)
@pytest.mark.parametrize("labelled", [False, True])
async def test_a_foreign_object_is_refused_and_picked_up_once_it_is_gone(
    spec: Spec, kind: str, name: str, labelled: bool
) -> None:
    made = world(spec)
    manifest = next(manifest for manifest in wanted(made) if child_id(manifest) == (kind, name))
    labels = manifest["metadata"]["labels"] if labelled else {"app": "theirs"}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    foreign = made.cluster.put({**manifest, "metadata": metadata})
    outcome = await made.converge()
    assert (outcome.result, made.condition("Ready")["reason"]) == ("stalled", "ResourceConflict")
    assert f"{kind} {name} is not touched" in made.condition("Ready")["message"]
    live = made.child(kind, name)
    assert live["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert live["metadata"]["labels"] == labels
    made.cluster.remove(kind, NAMESPACE, name)
    assert (await made.converge()).result == "ready"
    assert children(made.cluster) == await settled(spec)


async def test_children_of_an_earlier_workspace_of_the_name_are_left_to_the_garbage_collector() -> None:
    made = world()
    await made.converge()
    earlier = {"uid": "earlier"}
    for kind, name in CHILDREN:
        made.cluster.edit(kind, NAMESPACE, name, lambda live: live["metadata"]["ownerReferences"][0].update(earlier))
    made.restart()
    before = len(made.cluster.writes)
    assert (await made.reconcile()).result == "stalled"
    assert {call.kind for call in made.cluster.writes[before:]} == {KIND}
    assert "earlier SibylWorkspace demo" in made.condition("Ready")["message"]


async def test_deleting_the_workspace_takes_everything_along_and_is_forgotten() -> None:
    made = world()
    await made.converge()
    made.cluster.remove(KIND, NAMESPACE, NAME)
    made.deliver()
    await made.drain()
    assert children(made.cluster) == {}
    assert made.observer.forgotten == [KEY]
    assert made.cache.keys() == frozenset()
    assert b"sibyl_workspace_condition{" not in made.metrics.exposition()


async def test_nothing_is_written_while_the_workspace_is_being_deleted() -> None:
    made = world()
    await made.converge()
    made.cluster.edit(KIND, NAMESPACE, NAME, lambda live: live["metadata"].update(finalizers=["test/hold"]))
    made.cluster.remove(KIND, NAMESPACE, NAME)
    made.cluster.remove("Service", NAMESPACE, RUNTIME)
    before = len(made.cluster.writes)
    assert (await made.reconcile()).result == "gone"
    assert made.cluster.writes[before:] == ()


async def test_a_recreated_workspace_starts_anew() -> None:
    made = world(AUTOSCALED)
    await made.converge()
    made.cluster.remove(KIND, NAMESPACE, NAME)
    made.cluster.put(workspace(AUTOSCALED))
    made.deliver()
    await made.drain()
    await made.converge()
    assert children(made.cluster).keys() == (await settled(AUTOSCALED)).keys()
    assert made.condition("Ready")["status"] == "True"
