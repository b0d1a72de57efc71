"""The status of a workspace: small, stable, and equal when nothing that matters has changed.

No clock ticks in it: `now` is used only for a condition whose status has just changed. Figures are rounded, so that
noise causes no write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sibyl_operator.api.cache_memory import maximum_memory
from sibyl_operator.api.checks.read_replicas import streaming
from sibyl_operator.api.checks.runtime import desired_replicas, find_child
from sibyl_operator.api.condition import Condition
from sibyl_operator.api.resource import InvalidResource
from sibyl_operator.api.status_targets import significant, target_statuses
from sibyl_operator.observed import KpiFacts, Observed

# What stays true of the running service while a new spec is invalid.
KEPT: Final = ("endpoints", "effectiveConfigHash", "replicas", "kpis", "database", "cache")


def status(observed: Observed, conditions: Sequence[Condition], now: datetime) -> dict[str, Any]:
    """The whole status; without the keys of which nothing is known."""
    resource = observed.resource
    found = {
        "observedGeneration": resource.generation,
        "conditions": _conditions(conditions, resource.previous_status, resource.generation, now),
        "endpoints": _endpoints(observed),
        "effectiveConfigHash": observed.config_hash,
        "replicas": _replicas(observed),
        "kpis": None if observed.kpis is None else _kpis(observed.kpis, resource.previous_status),
        "database": _database(observed),
        "cache": _cache(observed),
    }
    return {name: value for name, value in found.items() if value is not None}


def invalid_status(invalid: InvalidResource, conditions: Sequence[Condition], now: datetime) -> dict[str, Any]:
    """The status of a workspace that cannot be read: what is known of the running service stays."""
    previous = invalid.previous_status
    return {
        "observedGeneration": invalid.generation,
        "conditions": _conditions(conditions, previous, invalid.generation, now),
        **{name: previous[name] for name in KEPT if name in previous},
    }


def _conditions(
    conditions: Sequence[Condition], previous: Mapping[str, Any], generation: int, now: datetime
) -> list[dict[str, Any]]:
    before = {held.get("type"): held for held in previous.get("conditions") or () if isinstance(held, Mapping)}
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": _transition_time(condition, before.get(condition.type), now),
            "observedGeneration": generation,
        }
        for condition in conditions
    ]


def _transition_time(condition: Condition, before: Mapping[str, Any] | None, now: datetime) -> str:
    kept = before.get("lastTransitionTime") if before is not None and before.get("status") == condition.status else None
    return kept if isinstance(kept, str) else now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _endpoints(observed: Observed) -> dict[str, Any] | None:
    service = find_child(observed, "Service")
    if service is None:
        return None
    host = f"{service['metadata']['name']}.{observed.resource.namespace}.svc"
    ports = {port.get("name"): port["port"] for port in service["spec"]["ports"]}
    http = f"http://{host}:{ports['http']}"
    return {"http": http, "mcp": f"{http}/mcp/tools", "metrics": f"http://{host}:{ports['metrics']}/metrics"}


def _replicas(observed: Observed) -> dict[str, Any] | None:
    deployment = find_child(observed, "Deployment")
    if deployment is None:
        return None
    ready, desired = deployment.get("status", {}).get("readyReplicas", 0), desired_replicas(deployment)
    return {"ready": ready, "desired": desired, "text": f"{ready}/{desired}"}


def _kpis(facts: KpiFacts, previous: Mapping[str, Any]) -> dict[str, Any]:
    told = previous.get("kpis")
    targets = target_statuses(facts.targets, told.get("targets") if isinstance(told, Mapping) else None)
    found = {
        "p50": seconds_text(facts.p50),
        "p95": seconds_text(facts.p95),
        "p99": seconds_text(facts.p99),
        "requestsPerSecond": significant(facts.requests_per_second),
        "cacheHitPercent": _percent(facts.cache_hit_ratio),
        "errorPercent": _percent(facts.error_ratio),
        "podsScraped": f"{facts.pods_scraped}/{facts.pods_expected}",
        "windowSeconds": round(facts.window_seconds),
        "targets": targets or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _database(observed: Observed) -> dict[str, Any] | None:
    facts = observed.database
    if facts is None or not facts.reachable:
        kept = observed.resource.previous_status.get("database")
        return dict(kept) if isinstance(kept, Mapping) else None
    found = {
        "version": facts.server_version,
        "vectorVersion": facts.vector_version,
        "maxConnections": facts.max_connections,
        "readReplicas": _read_replicas(observed),
    }
    return {name: value for name, value in found.items() if value is not None}


def _read_replicas(observed: Observed) -> str | None:
    wanted = observed.resource.spec.database.read_replicas
    return f"{streaming(observed)}/{wanted}" if wanted else None


def _cache(observed: Observed) -> dict[str, Any] | None:
    cache = observed.resource.spec.cache
    service = find_child(observed, "Service", "cache") if cache.provider == "Builtin" else None
    if service is None:
        return None
    port = service["spec"]["ports"][0]["port"]
    return {
        "endpoint": f"{service['metadata']['name']}.{observed.resource.namespace}.svc:{port}",
        "maxMemory": f"{maximum_memory(cache.memory) // 2**20}Mi",
    }


def seconds_text(seconds: float | None) -> str | None:
    """`0.41s`, with two significant digits."""
    return None if seconds is None else f"{significant(seconds)}s"


def _percent(ratio: float | None) -> int | None:
    return None if ratio is None else max(0, min(100, round(ratio * 100)))
