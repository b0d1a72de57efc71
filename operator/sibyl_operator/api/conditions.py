"""All conditions of a workspace, from what was observed: each a chain of named checks, and Ready sums them up.

Types are observations, not transitions; every known type is there from the first visit. Reconciling, Stalled and
Paused are there only while they are true, as kstatus reads them: Stalled tells tools that waiting will not help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sibyl_operator.api.checks.builtin_cache import BUILTIN_CACHE_READY
from sibyl_operator.api.checks.builtin_database import BUILTIN_DATABASE_READY
from sibyl_operator.api.checks.cache import CACHE_READY
from sibyl_operator.api.checks.configuration import CONFIG_APPLIED
from sibyl_operator.api.checks.database import DATABASE_READY
from sibyl_operator.api.checks.runtime import (
    RUNTIME_READY,
    available_replicas,
    desired_replicas,
    find_child,
    running_pods,
)
from sibyl_operator.api.condition import Condition, bounded, judge, listed
from sibyl_operator.api.resource import InvalidResource
from sibyl_operator.api.scaling import planned_connections
from sibyl_operator.observed import Observed
from sibyl_runtime.workspace import format_path

MOST_PROBLEMS: Final = 10


def conditions(observed: Observed) -> tuple[Condition, ...]:
    """Every condition of a valid workspace, Ready after those that it sums up."""
    judged = [config_valid(observed), database_ready(observed)]
    if observed.resource.spec.cache.provider != "None":
        judged.append(cache_ready(observed))
    judged += [runtime_ready(observed), config_applied(observed)]
    ready = _ready(judged, observed)
    return (*judged, ready, *_while_true(judged, ready, suspended=observed.resource.spec.suspend))


def invalid_conditions(invalid: InvalidResource) -> tuple[Condition, ...]:
    """The conditions of a workspace that cannot be read: what runs keeps running, and nothing else is judged."""
    valid = Condition("ConfigValid", "False", "ConfigInvalid", _problems(invalid), stalls=True)
    unjudged = [
        Condition(kind, "Unknown", "ConfigInvalid", "not judged while the configuration is invalid")
        for kind in ("DatabaseReady", "RuntimeReady", "ConfigApplied")
    ]
    ready = Condition("Ready", "False", valid.reason, valid.message, stalls=True)
    return (valid, *unjudged, ready, *_while_true([valid], ready, suspended=False))


def _problems(invalid: InvalidResource) -> str:
    shown = "; ".join(f"{problem.path}: {problem.message}" for problem in invalid.problems[:MOST_PROBLEMS])
    more = len(invalid.problems) - MOST_PROBLEMS
    return bounded(f"{shown}; and {more} more problems" if more > 0 else shown)


def config_valid(observed: Observed) -> Condition:
    """The spec could be read in full; fields of a newer CRD are ignored, and that is said."""
    unknown = observed.resource.unknown_fields
    if not unknown:
        return Condition("ConfigValid", "True", "Valid", "spec is valid")
    fields = ", ".join(format_path(("spec", *field.location)) for field in unknown)
    message = f"spec is valid, but this operator does not know, and ignores: {fields}; upgrade the operator"
    return Condition("ConfigValid", "True", "UnknownFieldsIgnored", bounded(message))


def database_ready(observed: Observed) -> Condition:
    """The database answers, has pgvector, and connections for every pod."""
    facts = observed.database
    described = (
        f"PostgreSQL {facts.server_version} with pgvector {facts.vector_version}; the pods may open "
        f"{planned_connections(observed.resource)} of its {facts.max_connections} connections"
        if facts is not None
        else ""
    )
    builtin = observed.resource.spec.database.provider == "Builtin"
    checks = BUILTIN_DATABASE_READY if builtin else DATABASE_READY
    return judge("DatabaseReady", checks, observed, reason="DatabaseAnswers", message=described)


def cache_ready(observed: Observed) -> Condition:
    """The pods reach the Redis of the spec."""
    builtin = observed.resource.spec.cache.provider == "Builtin"
    checks = BUILTIN_CACHE_READY if builtin else CACHE_READY
    return judge("CacheReady", checks, observed, reason="CacheAnswers", message="the pods reach the cache")


def runtime_ready(observed: Observed) -> Condition:
    """As many pods serve as should."""
    desired = desired_replicas(find_child(observed, "Deployment") or {})
    described = f"{min(desired, available_replicas(observed))} of {desired} pods are available"
    return judge("RuntimeReady", RUNTIME_READY, observed, reason="ReplicasAvailable", message=described)


def config_applied(observed: Observed) -> Condition:
    """Every pod says itself that it serves the configuration of the spec."""
    pods = running_pods(observed)
    loaded = sum(pod.loaded_hash == observed.config_hash for pod in pods)
    described = f"{loaded} of {len(pods)} pods serve configuration {observed.config_hash}"
    return judge("ConfigApplied", CONFIG_APPLIED, observed, reason="ConfigLoaded", message=described)


def _ready(judged: Sequence[Condition], observed: Observed) -> Condition:
    """False with the first failure; Unknown with the first unknown; False while the spec is not applied; else True."""
    for status in ("False", "Unknown"):
        for condition in judged:
            if condition.status == status:
                return Condition("Ready", condition.status, condition.reason, condition.message)
    if observed.unapplied:
        message = f"not as specified: {listed(observed.unapplied)}; set spec.suspend to false to apply the spec"
        return Condition("Ready", "False", "Suspended", message)
    return Condition("Ready", "True", "Serving", f"the service runs as specified, with {observed.config_hash}")


def _while_true(judged: Sequence[Condition], ready: Condition, *, suspended: bool) -> Iterator[Condition]:
    stalled = next((condition for condition in judged if condition.stalls), None)
    if suspended:
        message = "spec.suspend is true: nothing is written but status; set it to false to go on"
        yield Condition("Paused", "True", "Suspended", message)
    elif stalled is not None:
        yield Condition("Stalled", "True", stalled.reason, stalled.message)
    elif ready.status != "True":
        yield Condition("Reconciling", "True", ready.reason, ready.message)
