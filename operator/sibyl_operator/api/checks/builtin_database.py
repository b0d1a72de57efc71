"""Checks of DatabaseReady for a PostgreSQL that the operator runs: passwords, pods, volumes, and an answer."""

from __future__ import annotations

from typing import Final

from sibyl_operator.api.checks.database import (
    last_write_succeeded_of,
    primary_accepts_queries_of,
    vector_extension_current,
)
from sibyl_operator.api.checks.database_servers import (
    ADVICE,
    PRIMARY,
    REPLICA,
    components,
    enlarge_claim,
    pods_wanted,
    server_name,
    stateful_set,
)
from sibyl_operator.api.checks.passwords import passwords_made
from sibyl_operator.api.checks.pods import service_pods, start_finding
from sibyl_operator.api.checks.read_replicas import replicas_stream
from sibyl_operator.api.condition import Check, Finding
from sibyl_operator.api.models import DatabaseResources
from sibyl_operator.observed import Observed

SECRETS: Final = ("db-app", "db-replication")
NO_SPACE: Final = "No space left on device"


def servers_seen(observed: Observed) -> Finding | None:
    """The StatefulSets exist, and their controller has seen the latest of them."""
    for component in components(observed):
        found, name = stateful_set(observed, component), server_name(observed, component)
        if found is None:
            return Finding("DatabaseMissing", f"StatefulSet {name} is not there yet; the operator makes it", "Unknown")
        if found.get("status", {}).get("observedGeneration", 0) < found["metadata"].get("generation", 0):
            return Finding("DatabaseStarting", f"the controller of StatefulSet {name} has not seen its last change yet")
    return None


def pods_created(observed: Observed) -> Finding | None:
    """The API server takes the pods. A StatefulSet does not say when it refuses them, so they are counted."""
    for component in components(observed):
        wanted, pods = pods_wanted(observed, component), observed.service_pods.get(component, ())
        if len(pods) >= wanted:
            continue
        requests = (observed.resource.spec.database.resources or DatabaseResources()).requests
        name = server_name(observed, component)
        return Finding(
            "PodsMissing",
            f"StatefulSet {name} has {len(pods)} of {wanted} pods; unless they come within seconds, a ResourceQuota or "
            f"an admission rule refuses them: each asks for cpu {requests.cpu} and memory {requests.memory}; see: "
            f"kubectl -n {observed.resource.namespace} describe statefulset {name}; raise the quota, or lower "
            f"{ADVICE.reserved}",
        )
    return None


def volumes_bound(observed: Observed) -> Finding | None:
    """Every server has its volume."""
    for pod in service_pods(observed, PRIMARY, REPLICA):
        message = pod.waiting_message or ""
        if pod.waiting_reason == "Unschedulable" and "persistentvolume" in message.lower():
            storage = observed.resource.spec.database.storage
            wanted = storage.storage_class_name if storage is not None else None
            which = f"StorageClass {wanted}" if wanted else "the default StorageClass"
            return Finding(
                "VolumeUnbound",
                f"pod {pod.name} has no volume yet: {message}; check that {which} exists and can provide one, see: "
                f"kubectl -n {observed.resource.namespace} describe pvc data-{pod.name}; a claim kept from an earlier "
                "workspace keeps its class and its size: delete it if nothing on it is needed",
            )
    return None


def volumes_have_room(observed: Observed) -> Finding | None:
    """No server has stopped because its volume is full."""
    for pod in service_pods(observed, PRIMARY, REPLICA):
        if pod.ready or NO_SPACE not in (pod.last_words or ""):
            continue
        return Finding(
            "VolumeFull",
            f"the volume of pod {pod.name} is full: {pod.last_words}; {enlarge_claim(observed, pod.name)}; the server "
            "then goes on by itself",
        )
    return None


def servers_start(observed: Observed) -> Finding | None:
    """No server is held up by something that waiting does not mend."""
    return start_finding(observed, service_pods(observed, PRIMARY, REPLICA), ADVICE)


def primary_ready(observed: Observed) -> Finding | None:
    """The primary takes queries, as it was last specified."""
    status = (stateful_set(observed, PRIMARY) or {}).get("status", {})
    if status.get("readyReplicas", 0) >= 1 and status.get("updatedReplicas", 0) >= 1:
        return None
    name = server_name(observed, PRIMARY)
    return Finding(
        "DatabaseStarting",
        f"the pod of StatefulSet {name} is not ready; wait for it, or see: kubectl -n {observed.resource.namespace} "
        f"logs {name}-0 --all-containers",
    )


def primary_accepts_queries(observed: Observed) -> Finding | None:
    """The database answered a query within the operator's deadline."""
    return primary_accepts_queries_of(
        observed,
        "a password that has just been made takes effect with the restart of the pod; else check that the network lets "
        "the operator and the pods reach it",
    )


def last_write_succeeded(observed: Observed) -> Finding | None:
    """No pod has met a refusal when it last wrote."""
    return last_write_succeeded_of(observed, enlarge_claim(observed, f"{server_name(observed, PRIMARY)}-0"))


BUILTIN_DATABASE_READY: Final[tuple[Check, ...]] = (
    passwords_made(SECRETS, "a password of the database"),
    servers_seen,
    pods_created,
    volumes_bound,
    volumes_have_room,
    servers_start,
    primary_ready,
    primary_accepts_queries,
    vector_extension_current,
    last_write_succeeded,
    replicas_stream,
)
