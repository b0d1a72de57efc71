"""Checks of DatabaseReady: credentials, an answer, pgvector, and enough connections for every pod at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sibyl_operator.api.checks.runtime import running_pods
from sibyl_operator.api.checks.sources import source_key_finding
from sibyl_operator.api.condition import Check, Finding
from sibyl_operator.api.scaling import SURGE, planned_connections, pool_connections, replica_bounds
from sibyl_operator.api.sources import key_of_secret
from sibyl_operator.observed import DatabaseFacts, Observed, PodFacts

OLDEST_VECTOR: Final = (0, 8, 4)
# SQLSTATE disk_full.
DISK_FULL: Final = "53100"
FIELD: Final = "spec.database.external.secretRef"


def credentials_given(observed: Observed) -> Finding | None:
    """Nothing else can be judged without credentials."""
    external = observed.resource.spec.database.external
    if external is None:
        return None
    return source_key_finding(
        observed,
        key_of_secret(external.secret_ref),
        field=FIELD,
        example="postgresql://USER:PASSWORD@HOST:5432/DATABASE",
    )


def primary_accepts_queries(observed: Observed) -> Finding | None:
    """The database answered a query within the operator's deadline."""
    return primary_accepts_queries_of(
        observed,
        "check the DSN in the Secret, that the server runs, and that the network lets the operator and the pods reach "
        "it",
    )


def primary_accepts_queries_of(observed: Observed, step: str) -> Finding | None:
    """The same for any provider; `step` is what to do when it does not."""
    facts = observed.database
    if facts is None:
        return Finding("NotProbed", "the database has not been asked yet", status="Unknown")
    if not facts.reachable:
        return Finding("DatabaseUnreachable", f"{facts.error or 'the database does not answer'}; {step}")
    return None


def vector_extension_current(observed: Observed) -> Finding | None:
    """Older releases miss fixes that filtered search and halfvec indexes depend on."""
    version = _facts(observed).vector_version
    oldest = ".".join(map(str, OLDEST_VECTOR))
    if version is None:
        return Finding(
            "VectorExtensionMissing",
            "the database has no extension vector; the runtime creates it at start where its role may, else run as a "
            "superuser: CREATE EXTENSION vector",
        )
    if _numbers(version) < OLDEST_VECTOR:
        return Finding(
            "VectorExtensionOld",
            f"pgvector {version} is older than {oldest}; install {oldest} or later on the server, then run: "
            "ALTER EXTENSION vector UPDATE",
            stalls=True,
        )
    return None


def connections_within_budget(observed: Observed) -> Finding | None:
    """Every pod that may run at once can fill its pool without the server refusing the last of them."""
    facts = _facts(observed)
    if facts.max_connections is None:
        return None
    reserved = facts.reserved_connections or 0
    allowed = facts.max_connections - reserved
    if planned_connections(observed.resource) <= allowed:
        return None
    return Finding("TooManyConnections", _budget_message(observed, facts.max_connections, reserved), stalls=True)


def last_write_succeeded(observed: Observed) -> Finding | None:
    """No pod has met a refusal when it last wrote. Reading goes on meanwhile, so that nothing else shows it."""
    return last_write_succeeded_of(observed, "make room on its volume")


def last_write_succeeded_of(observed: Observed, room: str) -> Finding | None:
    """The same for any provider; `room` is how to make some where the volume is full."""
    for pod in running_pods(observed):
        failed = _last_failed_write(pod)
        if failed is not None:
            full = failed.get("sqlstate") == DISK_FULL
            step = f"{room}; then ingest again" if full else "mend that, then ingest again"
            return Finding("VolumeFull" if full else "WriteRefused", f"pod {pod.name}: {failed.get('error')}; {step}")
    return None


def _last_failed_write(pod: PodFacts) -> Mapping[str, Any] | None:
    found: Any = pod.health
    for part in ("checks", "database", "details", "last_failed_write"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _budget_message(observed: Observed, max_connections: int, reserved: int) -> str:
    bounds = replica_bounds(observed.resource.spec.runtime)
    name, store = observed.resource.document.default_vector_store
    pods, pool, allowed = bounds.most + SURGE, pool_connections(observed.resource), max_connections - reserved
    remedies = []
    if allowed // pool > SURGE:
        remedies.append(f"lower spec.{bounds.field} to {allowed // pool - SURGE}")
    if allowed >= pods:
        path = f"spec.workspace.providers.vector_store.{name}"
        remedies.append(f"lower pool_size + max_overflow of {path} to {allowed // pods}")
    remedies.append(f"raise the server's max_connections to {pods * pool + reserved}")
    return (
        f"{pods} pods ({bounds.most} and {SURGE} more during a rollout) x {pool} connections (pool_size "
        f"{store.pool_size} + max_overflow {store.max_overflow}) = {pods * pool}, but the server allows {allowed} "
        f"(max_connections {max_connections} - {reserved} reserved); {', or '.join(remedies)}"
    )


def _facts(observed: Observed) -> DatabaseFacts:
    return observed.database or DatabaseFacts(reachable=False)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


DATABASE_READY: Final[tuple[Check, ...]] = (
    credentials_given,
    primary_accepts_queries,
    vector_extension_current,
    connections_within_budget,
    last_write_succeeded,
)
