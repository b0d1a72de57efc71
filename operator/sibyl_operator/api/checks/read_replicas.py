"""Do the read replicas of a Builtin database receive what its primary writes? The primary says so, slot by slot."""

from __future__ import annotations

from typing import Final

from sibyl_operator.api.checks.database_servers import REPLICA, server_name
from sibyl_operator.api.checks.pods import service_pods
from sibyl_operator.api.condition import Finding
from sibyl_operator.observed import Observed, SlotFacts

SLOT_PREFIX: Final = "sibyl_replica_"
# Four segments of the write-ahead log. Searches pass such a replica over long before.
MOST_WAITING_BYTES: Final = 64 * 2**20


def replicas_stream(observed: Observed) -> Finding | None:
    """Every read replica runs and streams, and none is far behind."""
    wanted = observed.resource.spec.database.read_replicas or 0
    if not wanted:
        return None
    if observed.replication is None:
        return Finding("NotProbed", "the primary has not been asked about its read replicas yet", status="Unknown")
    if observed.replication.error is not None:
        return Finding("ReplicationUnknown", f"the primary does not tell: {observed.replication.error}", "Unknown")
    findings = (_finding(observed, ordinal) for ordinal in range(wanted))
    return next((finding for finding in findings if finding is not None), None)


def streaming(observed: Observed) -> int:
    """How many of the wanted read replicas stream."""
    slots = (_slot(observed, ordinal) for ordinal in range(observed.resource.spec.database.read_replicas or 0))
    return sum(1 for slot in slots if slot is not None and slot.streaming)


def _finding(observed: Observed, ordinal: int) -> Finding | None:
    name, slot = f"{server_name(observed, REPLICA)}-{ordinal}", _slot(observed, ordinal)
    kubectl = f"kubectl -n {observed.resource.namespace}"
    if not any(pod.ready for pod in service_pods(observed, REPLICA) if pod.name == name):
        return Finding(
            "ReplicaStarting",
            f"read replica {name} is not ready, searches go to the other servers; wait for it, or see: {kubectl} logs "
            f"{name} --all-containers",
        )
    if slot is None or slot.lost:
        return Finding(
            "ReplicaLost",
            f"read replica {name} cannot catch up, because the primary no longer has what it missed; have it copied "
            f"anew: {kubectl} delete pvc data-{name} --wait=false, then {kubectl} delete pod {name}",
        )
    if not slot.streaming:
        return Finding(
            "ReplicaNotStreaming",
            f"read replica {name} receives nothing from the primary; if that lasts, see: {kubectl} logs {name}",
        )
    if slot.waiting_bytes > MOST_WAITING_BYTES:
        return Finding(
            "ReplicaLagging",
            f"read replica {name} is more than {MOST_WAITING_BYTES // 2**20} MiB behind; if that lasts, raise "
            "spec.database.resources, or give it a faster volume",
        )
    return None


def _slot(observed: Observed, ordinal: int) -> SlotFacts | None:
    held = observed.replication.slots if observed.replication is not None else ()
    return next((slot for slot in held if slot.name == f"{SLOT_PREFIX}{ordinal}"), None)
