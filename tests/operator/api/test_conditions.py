"""Every condition, for every thing that can be wrong: reason, message and next step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sibyl_operator.api.condition import Condition
from sibyl_operator.api.conditions import conditions, invalid_conditions
from sibyl_operator.api.resource import InvalidResource, read_resource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired import config_hash
from sibyl_operator.observed import ApplyError, Conflict, Observed, SourceFacts
from tests.operator.api.advice import PULL
from tests.operator.api.facts import DATABASE, body, children, observed, pod, resource, valid

CACHE = {"provider": "External", "external": {"secretRef": {"name": "redis"}}}
ENV = {"replicas": 2, "env": [{"name": "KEY", "secretKeyRef": {"name": "keys", "key": "one"}}]}
SETTING = {"replicas": 2, "env": [{"name": "LEVEL", "configMapKeyRef": {"name": "settings", "key": "level"}}]}
NAMES = ["ConfigValid", "DatabaseReady", "RuntimeReady", "ConfigApplied", "Ready"]


def judged(of: Observed) -> dict[str, Condition]:
    return {condition.type: condition for condition in conditions(of)}


def test_when_all_is_well_every_condition_is_true_and_none_is_abnormal() -> None:
    found = judged(observed())
    assert list(found) == NAMES
    assert {condition.status for condition in found.values()} == {"True"}


def test_what_is_well_is_said_with_its_figures() -> None:
    found = judged(observed(config_hash="v1-abc", pods=(pod("a", "v1-abc"), pod("b", "v1-abc"))))
    assert {kind: (condition.reason, condition.message) for kind, condition in found.items()} == {
        "ConfigValid": ("Valid", "spec is valid"),
        "DatabaseReady": (
            "DatabaseAnswers",
            "PostgreSQL 17.2 with pgvector 0.8.5; the pods may open 12 of its 100 connections",
        ),
        "RuntimeReady": ("ReplicasAvailable", "2 of 2 pods are available"),
        "ConfigApplied": ("ConfigLoaded", "2 of 2 pods serve configuration v1-abc"),
        "Ready": ("Serving", "the service runs as specified, with v1-abc"),
    }


def without(of: Observed, source: Source) -> Observed:
    return replace(of, sources={**of.sources, source: SourceFacts(exists=False, keys=frozenset(), digest="")})


def with_keys(of: Observed, source: Source, *keys: str) -> Observed:
    return replace(of, sources={**of.sources, source: SourceFacts(exists=True, keys=frozenset(keys), digest="d")})


def deployment(of: Observed, **status: Any) -> Observed:
    live = children(of.resource)
    for (kind, _), child in live.items():
        if kind == "Deployment":
            child["status"] |= status
    return replace(of, children=live)


GOOD = observed()
DSN = Source("Secret", "docs-database")
HASH = GOOD.config_hash
CACHED = observed(resource(cache=CACHE))
CACHED = replace(CACHED, pods=(pod("a", CACHED.config_hash, health={"checks": {"cache": {"status": "healthy"}}}),))
SET = observed(resource(runtime=SETTING))
SETTINGS = Source("ConfigMap", "settings")
CREATE = "kubectl -n team create secret generic"
STUCK = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": 'ReplicaSet "docs-runtime-5" has timed out progressing.',
}

FINDINGS: list[tuple[Observed, str, str, str, str, str]] = [
    (
        without(GOOD, DSN), "DatabaseReady", "False", "SecretNotFound", "Reconciling",
        "Secret docs-database, named in spec.database.external.secretRef, is not in namespace team; create it: "
        f"{CREATE} docs-database --from-literal='dsn=postgresql://USER:PASSWORD@HOST:5432/DATABASE'",
    ),
    (
        replace(GOOD, sources={}), "DatabaseReady", "Unknown", "SecretNotRead", "Reconciling",
        "Secret docs-database, named in spec.database.external.secretRef, could not be read",
    ),
    (
        with_keys(GOOD, DSN, "uri", "user"), "DatabaseReady", "False", "SecretKeyMissing", "Reconciling",
        "Secret docs-database has no key dsn, named in spec.database.external.secretRef (it has uri, user); add the "
        "key, or name another",
    ),
    (
        with_keys(GOOD, DSN), "DatabaseReady", "False", "SecretKeyMissing", "Reconciling",
        "Secret docs-database has no key dsn, named in spec.database.external.secretRef (its data is empty); add the "
        "key, or name another",
    ),
    (
        replace(GOOD, database=None), "DatabaseReady", "Unknown", "NotProbed", "Reconciling",
        "the database has not been asked yet",
    ),
    (
        replace(GOOD, database=replace(DATABASE, reachable=False, error="db:5432/docs: connection refused")),
        "DatabaseReady", "False", "DatabaseUnreachable", "Reconciling",
        "db:5432/docs: connection refused; check the DSN in the Secret, that the server runs, and that the network "
        "lets the operator and the pods reach it",
    ),
    (
        replace(GOOD, database=replace(DATABASE, vector_version=None)),
        "DatabaseReady", "False", "VectorExtensionMissing", "Reconciling",
        "the database has no extension vector; the runtime creates it at start where its role may, else run as a "
        "superuser: CREATE EXTENSION vector",
    ),
    (
        replace(GOOD, database=replace(DATABASE, vector_version="0.8.3")),
        "DatabaseReady", "False", "VectorExtensionOld", "Stalled",
        "pgvector 0.8.3 is older than 0.8.4; install 0.8.4 or later on the server, then run: ALTER EXTENSION vector "
        "UPDATE",
    ),
    (
        replace(GOOD, database=replace(DATABASE, max_connections=12)),
        "DatabaseReady", "False", "TooManyConnections", "Stalled",
        "3 pods (2 and 1 more during a rollout) x 4 connections (pool_size 4 + max_overflow 0) = 12, but the server "
        "allows 9 (max_connections 12 - 3 reserved); lower spec.runtime.replicas to 1, or lower pool_size + "
        "max_overflow of spec.workspace.providers.vector_store.default to 3, or raise the server's max_connections "
        "to 15",
    ),
    (
        without(CACHED, Source("Secret", "redis")), "CacheReady", "False", "SecretNotFound", "Reconciling",
        "Secret redis, named in spec.cache.external.secretRef, is not in namespace team; create it: "
        f"{CREATE} redis --from-literal='url=redis://:PASSWORD@HOST:6379/0'",
    ),
    (
        replace(CACHED, pods=(pod("a", CACHED.config_hash),)), "CacheReady", "Unknown", "NoPodReports", "Reconciling",
        "no pod has said yet how its cache is",
    ),
    (
        replace(CACHED, pods=(
            pod("a", CACHED.config_hash, health={"checks": {"cache": {"status": "healthy"}}}),
            pod("b", CACHED.config_hash, health={"checks": {"cache": {"status": "unhealthy"}}}),
        )),
        "CacheReady", "False", "CacheUnreachable", "Reconciling",
        "1 of 2 pods (b) do not reach the cache; answers are computed anew each time; check the URL in the Secret, and "
        "that the network lets the pods reach it",
    ),
    (
        replace(GOOD, conflicts=(Conflict("Service", "docs-runtime", "Service docs-runtime is not ours; rename it"),)),
        "RuntimeReady", "False", "ResourceConflict", "Stalled", "Service docs-runtime is not ours; rename it",
    ),
    (
        replace(GOOD, apply_errors=(ApplyError("Deployment", "apply: timed out", transient=True),)),
        "RuntimeReady", "False", "ApplyFailed", "Reconciling",
        "Deployment: apply: timed out; the operator tries again by itself",
    ),
    (
        replace(GOOD, apply_errors=(
            ApplyError("Service", "apply: timed out", transient=True),
            ApplyError("Deployment", "apply: field is immutable", transient=False),
        )),
        "RuntimeReady", "False", "ApplyRefused", "Stalled",
        "Service: apply: timed out; Deployment: apply: field is immutable; correct the workspace, or the rights of the "
        "operator",
    ),
    (
        without(observed(resource(runtime=ENV)), Source("Secret", "keys")),
        "RuntimeReady", "False", "SecretNotFound", "Reconciling",
        "Secret keys, named in spec.runtime.env[KEY].secretKeyRef, is not in namespace team; create it: "
        f"{CREATE} keys --from-literal='one=VALUE'",
    ),
    (
        without(SET, SETTINGS), "RuntimeReady", "False", "ConfigMapNotFound", "Reconciling",
        "ConfigMap settings, named in spec.runtime.env[LEVEL].configMapKeyRef, is not in namespace team; create it: "
        "kubectl -n team create configmap settings --from-literal='level=VALUE'",
    ),
    (
        with_keys(SET, SETTINGS, "Level"), "RuntimeReady", "False", "ConfigMapKeyMissing", "Reconciling",
        "ConfigMap settings has no key level, named in spec.runtime.env[LEVEL].configMapKeyRef (it has Level); add the "
        "key, or name another",
    ),
    (
        replace(SET, sources=GOOD.sources), "RuntimeReady", "Unknown", "ConfigMapNotRead", "Reconciling",
        "ConfigMap settings, named in spec.runtime.env[LEVEL].configMapKeyRef, could not be read",
    ),
    (
        replace(GOOD, children={}), "RuntimeReady", "Unknown", "DeploymentMissing", "Reconciling",
        "the Deployment does not exist yet; the operator makes it",
    ),
    (
        deployment(GOOD, observedGeneration=6), "RuntimeReady", "False", "RolloutInProgress", "Reconciling",
        "the Deployment's controller has not seen the latest change yet",
    ),
    (
        deployment(GOOD, conditions=[STUCK]), "RuntimeReady", "False", "RolloutStuck", "Stalled",
        'the rollout does not progress: ReplicaSet "docs-runtime-5" has timed out progressing.; see: kubectl -n team '
        "describe pods -l sibyl.dev/workspace=docs",
    ),
    (
        replace(deployment(GOOD, availableReplicas=1), pods=(pod("a", HASH), pod("b", HASH, ready=False))),
        "RuntimeReady", "False", "ReplicasUnavailable", "Reconciling",
        "1 of 2 pods are available; not ready: b; wait for them, or see: kubectl -n team get pods -l "
        "sibyl.dev/workspace=docs",
    ),
    (
        replace(GOOD, pods=()), "ConfigApplied", "Unknown", "NoPods", "Reconciling",
        "no pod runs that could have loaded the configuration",
    ),
    (
        replace(GOOD, pods=(pod("a", HASH), pod("b", "v1-old"), pod("c", None, error="it has no address yet"))),
        "ConfigApplied", "False", "OldConfiguration", "Reconciling",
        f"1 of 3 pods serve another configuration than {HASH}: b (v1-old); the rollout replaces them",
    ),
    (
        replace(GOOD, pods=(pod("a", HASH), pod("c", None, error="it has no address yet"))),
        "ConfigApplied", "False", "PodsNotAnswering", "Reconciling",
        "1 of 2 pods do not say which configuration they serve: c (it has no address yet); wait until they are ready, "
        "or see: kubectl -n team logs c",
    ),
]  # fmt: skip


def test_pods_that_an_autoscaler_adds_are_no_trouble_while_they_start() -> None:
    of = resource(runtime={"autoscaling": {"minReplicas": 2, "maxReplicas": 5}})
    hashed = config_hash(of)
    starting = pod("c", None, ready=False, error="it has no address yet")
    seen = observed(of, pods=(pod("a", hashed), pod("b", hashed), starting))
    for (kind, _), child in seen.children.items():
        if kind == "Deployment":
            child["spec"]["replicas"] = 3
    found = {condition.type: condition for condition in conditions(seen)}
    assert found["Ready"].status == "True"
    assert found["RuntimeReady"].message == "2 of 3 pods are available"
    assert found["ConfigApplied"].message == f"2 of 3 pods serve configuration {hashed}"


@pytest.mark.parametrize(
    ("of", "kind", "status", "reason", "abnormal", "message"),
    FINDINGS,
    ids=[f"{case[1]}-{case[3]}-{number}" for number, case in enumerate(FINDINGS)],
)
def test_what_is_wrong_is_said_with_the_next_step(
    of: Observed, kind: str, status: str, reason: str, abnormal: str, message: str
) -> None:
    found = judged(of)
    condition = found[kind]
    assert (condition.status, condition.reason, condition.message) == (status, reason, message)
    assert (found["Ready"].status, found["Ready"].reason, found["Ready"].message) == (status, reason, message)
    assert {"Reconciling", "Stalled", "Paused"} & found.keys() == {abnormal}
    assert (found[abnormal].status, found[abnormal].reason) == ("True", reason)


WAITING = [
    ("ImagePullBackOff", "Back-off pulling image", 0, f"check spec.runtime.image, {PULL}"),
    ("ErrImagePull", "not found", 0, f"check spec.runtime.image, {PULL}"),
    ("InvalidImageName", "couldn't parse", 0, "correct spec.runtime.image"),
    ("CreateContainerConfigError", 'secret "keys" not found', 0, "create what it names, or correct spec.runtime.env"),
    ("CrashLoopBackOff", "back-off 40s", 3, "see why: kubectl -n team logs docs-b --previous"),
    ("Unschedulable", "0/1 nodes are available", 0,
     "add nodes, lower spec.runtime.resources.requests, or relax nodeSelector and tolerations"),
    ("RunContainerError", "no such file", 0, "see: kubectl -n team describe pod docs-b"),
]  # fmt: skip


@pytest.mark.parametrize(("waiting", "said", "restarts", "advice"), WAITING)
def test_a_pod_that_cannot_start_is_named_with_what_it_waits_for(
    waiting: str, said: str, restarts: int, advice: str
) -> None:
    facts: dict[str, Any] = {"waiting_reason": waiting, "waiting_message": said, "restarts": restarts, "ready": False}
    found = judged(replace(GOOD, pods=(pod("docs-a", HASH), pod("docs-b", None, **facts))))["RuntimeReady"]
    counted = f", {restarts} restarts" if restarts else ""
    assert (found.status, found.reason) == ("False", waiting)
    assert found.message == f"pod docs-b: {waiting}{counted}: {said}; {advice}"
    assert found.stalls == (waiting == "InvalidImageName")


def test_a_pod_between_two_crashes_is_held_up_and_its_last_words_are_told() -> None:
    """The old pods serve on; what keeps the new one from starting must not hide behind them."""
    crashing = pod("docs-c", None, ready=False, restarts=4, last_words="the model `x` was not found")
    found = judged(replace(GOOD, pods=(*GOOD.pods, crashing)))["RuntimeReady"]
    assert (found.status, found.reason) == ("False", "CrashLoopBackOff")
    assert found.message == (
        "pod docs-c: CrashLoopBackOff, 4 restarts: the model `x` was not found; "
        "see why: kubectl -n team logs docs-c --previous"
    )


@pytest.mark.parametrize("waiting", ["ContainerCreating", "PodInitializing"])
def test_a_pod_on_its_way_up_is_no_failure(waiting: str) -> None:
    of = replace(GOOD, pods=(pod("docs-a", HASH), pod("docs-b", HASH, waiting_reason=waiting)))
    assert judged(of)["RuntimeReady"].status == "True"


def test_many_pods_that_cannot_start_are_counted() -> None:
    pods = tuple(pod(f"p{number}", None, waiting_reason="CrashLoopBackOff") for number in range(4))
    assert judged(replace(GOOD, pods=pods))["RuntimeReady"].message.startswith("pod p0 (and 3 more pods): Crash")


def test_a_pod_on_its_way_out_is_not_asked_anything() -> None:
    leaving = pod("old", "v1-old", terminating=True, waiting_reason="CrashLoopBackOff")
    assert judged(replace(GOOD, pods=(*GOOD.pods, leaving)))["Ready"].status == "True"


def test_at_most_five_pods_are_named() -> None:
    pods = tuple(pod(f"p{number}", "v1-old") for number in range(7))
    assert "p4 (v1-old) and 2 more; the rollout" in judged(replace(GOOD, pods=pods))["ConfigApplied"].message


def test_ready_tells_the_first_failure_before_the_first_doubt() -> None:
    of = replace(GOOD, database=None, pods=(pod("a", "v1-old"),))
    found = judged(of)
    assert found["DatabaseReady"].status == "Unknown"
    assert (found["Ready"].status, found["Ready"].reason) == ("False", "OldConfiguration")


def test_a_suspended_workspace_is_paused_and_neither_stalled_nor_reconciling() -> None:
    found = judged(replace(observed(resource(suspend=True)), pods=()))
    assert found["Paused"].message == ("spec.suspend is true: nothing is written but status; set it to false to go on")
    assert not {"Stalled", "Reconciling"} & found.keys()


def test_fields_of_a_newer_crd_are_named() -> None:
    manifest = body()
    manifest["spec"]["runtime"]["spot"] = True
    found = judged(observed(valid(manifest)))["ConfigValid"]
    assert (found.status, found.reason) == ("True", "UnknownFieldsIgnored")
    assert found.message == (
        "spec is valid, but this operator does not know, and ignores: spec.runtime.spot; upgrade the operator"
    )


AUTOSCALED = {"autoscaling": {"minReplicas": 3, "maxReplicas": 20}}


def test_the_guides_own_numbers_do_not_fit_its_database_and_the_message_says_so() -> None:
    guide = {"providers": {"vector_store": {"main": {"pool_size": 50, "max_overflow": 20}}}}
    of = observed(resource(workspace=guide, runtime=AUTOSCALED), database=replace(DATABASE, max_connections=200))
    assert judged(of)["DatabaseReady"].message == (
        "21 pods (20 and 1 more during a rollout) x 70 connections (pool_size 50 + max_overflow 20) = 1470, but the "
        "server allows 197 (max_connections 200 - 3 reserved); lower spec.runtime.autoscaling.maxReplicas to 1, or "
        "lower pool_size + max_overflow of spec.workspace.providers.vector_store.main to 9, or raise the server's "
        "max_connections to 1473"
    )


@pytest.mark.parametrize(
    ("pool", "allowed", "fits"), [(7, 100, True), (8, 100, False), (8, 171, True), (8, 170, False)]
)
def test_the_budget_is_exact(pool: int, allowed: int, fits: bool) -> None:
    stores = {"providers": {"vector_store": {"main": {"pool_size": pool, "max_overflow": 0}}}}
    runtime = {"autoscaling": {"minReplicas": 1, "maxReplicas": 20 if pool == 8 else 12}}
    of = observed(resource(workspace=stores, runtime=runtime), database=replace(DATABASE, max_connections=allowed))
    assert (judged(of)["DatabaseReady"].status == "True") == fits


def test_a_remedy_that_cannot_help_is_not_offered() -> None:
    of = observed(database=replace(DATABASE, max_connections=5, reserved_connections=3))
    message = judged(of)["DatabaseReady"].message
    assert message.endswith("(max_connections 5 - 3 reserved); raise the server's max_connections to 15")


def test_every_message_stays_within_its_bound() -> None:
    conflicts = tuple(Conflict("Service", f"s{number}", "x" * 200) for number in range(100))
    assert all(len(condition.message) <= 2048 for condition in conditions(replace(GOOD, conflicts=conflicts)))


def invalid(**spec: Any) -> InvalidResource:
    found = read_resource(body(**spec))
    assert isinstance(found, InvalidResource)
    return found


def test_an_invalid_workspace_is_stalled_and_says_all_that_is_wrong() -> None:
    found = {c.type: c for c in invalid_conditions(invalid(workspace={"mcp": {"prot": 1, "hots": 2}}))}
    assert list(found) == [*NAMES, "Stalled"]
    assert (found["ConfigValid"].status, found["ConfigValid"].reason) == ("False", "ConfigInvalid")
    assert "spec.workspace.mcp.prot: unknown key. Did you mean port?" in found["ConfigValid"].message
    assert "spec.workspace.mcp.hots: unknown key. Did you mean host?" in found["ConfigValid"].message
    assert found["Ready"].message == found["Stalled"].message == found["ConfigValid"].message
    assert {found[kind].status for kind in NAMES[1:4]} == {"Unknown"}


def test_of_many_problems_the_first_ten_are_told() -> None:
    tools = [{"name": f"t{number}", "description": "d", "pipeline": "nowhere"} for number in range(14)]
    message = invalid_conditions(invalid(workspace={"mcp": {"tools": tools}}))[0].message
    assert message.endswith("; and 4 more problems")
