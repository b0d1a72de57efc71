"""DatabaseReady of a PostgreSQL that the operator runs: each thing that can be wrong, with its next step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sibyl_operator.api.condition import Condition
from sibyl_operator.api.conditions import database_ready
from sibyl_operator.api.sources import Source
from sibyl_operator.api.status import status
from sibyl_operator.observed import Observed, PodFacts, ReplicationFacts, SlotFacts
from tests.operator.api.advice import PULL
from tests.operator.api.facts import DATABASE, children, observed, pod, resource, sources
from tests.operator.api.test_status import NOW

OF = resource(database={"provider": "Builtin", "readReplicas": 2})
PRIMARY = (pod("docs-db-0", None),)
REPLICAS = (pod("docs-db-replica-0", None), pod("docs-db-replica-1", None))
STREAMING = (SlotFacts("sibyl_replica_0", True, False, 0), SlotFacts("sibyl_replica_1", True, False, 4096))


def well(**facts: Any) -> Observed:
    good: dict[str, Any] = {
        "service_pods": {"database": PRIMARY, "database-replica": REPLICAS},
        "replication": ReplicationFacts(STREAMING),
    }
    return observed(OF, **good | facts)


def primary(**facts: Any) -> Observed:
    """The primary's pod in trouble; it is not ready then."""
    changed = replace(PRIMARY[0], ready=False, **facts)
    return well(service_pods={"database": (changed,), "database-replica": REPLICAS})


def slots(*found: SlotFacts) -> Observed:
    return well(replication=ReplicationFacts(found))


def stateful_set(name: str, **changes: Any) -> Observed:
    live = children(OF)
    live["StatefulSet", name]["status"] |= changes
    return well(children=live)


def failing(sqlstate: str, error: str) -> Observed:
    health = {"checks": {"database": {"details": {"last_failed_write": {"sqlstate": sqlstate, "error": error}}}}}
    good = well()
    return replace(good, pods=(replace(good.pods[0], health=health), good.pods[1]))


def missing_secret(name: str, **changes: Any) -> Observed:
    held, source = sources(OF), Source("Secret", name)
    return well(sources={**held, source: replace(held[source], **changes)})


def test_a_database_that_is_well_says_what_it_is() -> None:
    found = database_ready(well())
    assert (found.status, found.reason) == ("True", "DatabaseAnswers")
    assert found.message == ("PostgreSQL 17.2 with pgvector 0.8.5; the pods may open 12 of its 100 connections")
    assert status(well(), (), NOW)["database"]["readReplicas"] == "2/2"


NO_SPACE = 'FATAL:  could not write lock file "postmaster.pid": No space left on device'
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims"

CASES: dict[str, tuple[Observed, str, str, str]] = {
    "a password that is not there": (
        missing_secret("docs-db-app", exists=False), "Unknown", "SecretMissing",
        "Secret docs-db-app, with a password of the database, does not exist yet",
    ),
    "a password that was emptied": (
        missing_secret("docs-db-replication", keys=frozenset({"username"})), "False", "SecretKeyMissing",
        "Secret docs-db-replication has no key password any more; delete it, and the operator makes it anew: "
        "kubectl -n team delete secret docs-db-replication",
    ),
    "no StatefulSet yet": (
        well(children={}), "Unknown", "DatabaseMissing",
        "StatefulSet docs-db is not there yet; the operator makes it",
    ),
    "a StatefulSet that nobody has seen": (
        stateful_set("docs-db-replica", observedGeneration=2), "False", "DatabaseStarting",
        "the controller of StatefulSet docs-db-replica has not seen its last change yet",
    ),
    "pods that are refused": (
        well(service_pods={"database": (), "database-replica": REPLICAS}), "False", "PodsMissing",
        "StatefulSet docs-db has 0 of 1 pods; unless they come within seconds, a ResourceQuota or an admission rule "
        "refuses them: each asks for cpu 250m and memory 512Mi; see: kubectl -n team describe statefulset docs-db; "
        "raise the quota, or lower spec.database.resources.requests",
    ),
    "a volume that nobody provides": (
        primary(waiting_reason="Unschedulable", waiting_message=UNBOUND), "False", "VolumeUnbound",
        f"pod docs-db-0 has no volume yet: {UNBOUND}; check that the default StorageClass exists and can provide one, "
        "see: kubectl -n team describe pvc data-docs-db-0; a claim kept from an earlier workspace keeps its class and "
        "its size: delete it if nothing on it is needed",
    ),
    "no node with room": (
        primary(waiting_reason="Unschedulable", waiting_message="0/1 nodes: Insufficient cpu"), "False",
        "Unschedulable",
        "pod docs-db-0: Unschedulable: 0/1 nodes: Insufficient cpu; add nodes, or lower "
        "spec.database.resources.requests",
    ),
    "an image that cannot be pulled": (
        primary(waiting_reason="ImagePullBackOff", waiting_message="not found"), "False", "ImagePullBackOff",
        f"pod docs-db-0: ImagePullBackOff: not found; check spec.database.image, {PULL}",
    ),
    "a volume that is full": (
        primary(waiting_reason="CrashLoopBackOff", last_words=NO_SPACE, restarts=3), "False", "VolumeFull",
        f"the volume of pod docs-db-0 is full: {NO_SPACE}; where its StorageClass allows it, enlarge the claim: "
        "kubectl -n team patch pvc data-docs-db-0 --type merge --patch "
        '\'{"spec": {"resources": {"requests": {"storage": "SIZE"}}}}\'; the server then goes on by itself',
    ),
    "a crash with its last words": (
        primary(waiting_reason="CrashLoopBackOff", last_words="FATAL: no", restarts=3), "False", "CrashLoopBackOff",
        "pod docs-db-0: CrashLoopBackOff, 3 restarts: FATAL: no; see why: kubectl -n team logs docs-db-0 "
        "--all-containers --previous",
    ),
    "a primary that starts": (
        stateful_set("docs-db", readyReplicas=0), "False", "DatabaseStarting",
        "the pod of StatefulSet docs-db is not ready; wait for it, or see: kubectl -n team logs docs-db-0 "
        "--all-containers",
    ),
    "a primary that is replaced": (
        stateful_set("docs-db", updatedReplicas=0), "False", "DatabaseStarting",
        "the pod of StatefulSet docs-db is not ready; wait for it, or see: kubectl -n team logs docs-db-0 "
        "--all-containers",
    ),
    "no answer": (
        well(database=replace(DATABASE, reachable=False, error="docs-db-rw.team.svc:5432/sibyl: timeout")), "False",
        "DatabaseUnreachable",
        "docs-db-rw.team.svc:5432/sibyl: timeout; a password that has just been made takes effect with the restart of "
        "the pod; else check that the network lets the operator and the pods reach it",
    ),
    "a write that found no room": (
        failing("53100", "the volume of PostgreSQL is full"), "False", "VolumeFull",
        "pod docs-a: the volume of PostgreSQL is full; where its StorageClass allows it, enlarge the claim: kubectl -n "
        "team patch pvc data-docs-db-0 --type merge --patch "
        """'{"spec": {"resources": {"requests": {"storage": "SIZE"}}}}'; then ingest again""",
    ),
    "a write that was refused": (
        failing("25006", "read-only"), "False", "WriteRefused",
        "pod docs-a: read-only; mend that, then ingest again",
    ),
    "replicas that nobody has asked about": (
        well(replication=None), "Unknown", "NotProbed", "the primary has not been asked about its read replicas yet",
    ),
    "a primary that does not tell": (
        well(replication=ReplicationFacts(error="timeout")), "Unknown", "ReplicationUnknown",
        "the primary does not tell: timeout",
    ),
    "a replica that starts": (
        well(service_pods={"database": PRIMARY, "database-replica": (REPLICAS[0], replace(REPLICAS[1], ready=False))}),
        "False", "ReplicaStarting",
        "read replica docs-db-replica-1 is not ready, searches go to the other servers; wait for it, or see: kubectl "
        "-n team logs docs-db-replica-1 --all-containers",
    ),
    "a replica without a slot": (
        slots(STREAMING[0]), "False", "ReplicaLost",
        "read replica docs-db-replica-1 cannot catch up, because the primary no longer has what it missed; have it "
        "copied anew: kubectl -n team delete pvc data-docs-db-replica-1 --wait=false, then kubectl -n team delete pod "
        "docs-db-replica-1",
    ),
    "a replica whose slot is lost": (
        slots(STREAMING[0], replace(STREAMING[1], streaming=False, lost=True)), "False", "ReplicaLost",
        "read replica docs-db-replica-1 cannot catch up, because the primary no longer has what it missed; have it "
        "copied anew: kubectl -n team delete pvc data-docs-db-replica-1 --wait=false, then kubectl -n team delete pod "
        "docs-db-replica-1",
    ),
    "a replica that receives nothing": (
        slots(replace(STREAMING[0], streaming=False), STREAMING[1]), "False", "ReplicaNotStreaming",
        "read replica docs-db-replica-0 receives nothing from the primary; if that lasts, see: kubectl -n team logs "
        "docs-db-replica-0",
    ),
    "a replica that is behind": (
        slots(STREAMING[0], replace(STREAMING[1], waiting_bytes=65 * 2**20)), "False", "ReplicaLagging",
        "read replica docs-db-replica-1 is more than 64 MiB behind; if that lasts, raise spec.database.resources, or "
        "give it a faster volume",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_told_with_the_next_step(name: str) -> None:
    of, truth, reason, message = CASES[name]
    found = database_ready(of)
    assert (found.status, found.reason, found.message) == (truth, reason, message)
    assert not found.stalls, "each of these mends itself once its cause is gone"


def test_the_status_counts_the_replicas_that_stream() -> None:
    assert status(slots(STREAMING[0]), (), NOW)["database"]["readReplicas"] == "1/2"
    without = observed(resource(database={"provider": "Builtin"}))
    assert "readReplicas" not in status(without, (), NOW)["database"]


def test_a_long_name_is_found_under_the_name_that_its_children_have() -> None:
    of = resource(database={"provider": "Builtin", "readReplicas": 1})
    of = replace(of, name="a" * 60)
    live = children(of)
    (name,) = [name for kind, name in live if kind == "StatefulSet" and name.endswith("-db")]
    pods: dict[str, tuple[PodFacts, ...]] = {
        "database": (pod(f"{name}-0", None),),
        "database-replica": (pod(f"{name}-replica-0", None, ready=False),),
    }
    found: Condition = database_ready(observed(of, service_pods=pods, replication=ReplicationFacts(STREAMING)))
    assert found.reason == "ReplicaStarting"
