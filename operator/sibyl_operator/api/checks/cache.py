"""Checks of CacheReady for a Redis that the user runs: credentials, and what the runtime pods say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sibyl_operator.api.checks.runtime import running_pods
from sibyl_operator.api.checks.sources import source_key_finding
from sibyl_operator.api.condition import Check, Finding, listed
from sibyl_operator.api.sources import key_of_secret
from sibyl_operator.observed import Observed, PodFacts

UNHEALTHY: Final = "unhealthy"


def credentials_given(observed: Observed) -> Finding | None:
    """Nothing else can be judged without credentials."""
    external = observed.resource.spec.cache.external
    if external is None:
        return None
    return source_key_finding(
        observed,
        key_of_secret(external.secret_ref),
        field="spec.cache.external.secretRef",
        example="redis://:PASSWORD@HOST:6379/0",
    )


def pods_report(observed: Observed) -> Finding | None:
    """The cache is reached by the pods alone, so only they can tell."""
    if any(_report(pod) for pod in running_pods(observed)):
        return None
    return Finding("NoPodReports", "no pod has said yet how its cache is", status="Unknown")


def pods_reach_the_cache(observed: Observed) -> Finding | None:
    """No pod reports trouble with the cache."""
    troubled = troubled_pods(observed)
    if troubled is None:
        return None
    return Finding(
        "CacheUnreachable",
        f"{troubled} do not reach the cache; answers are computed anew each time; check the URL in the Secret, and "
        "that the network lets the pods reach it",
    )


def troubled_pods(observed: Observed) -> str | None:
    """How many runtime pods report trouble with the cache, and which; None when none does."""
    pods = running_pods(observed)
    troubled = sorted(pod.name for pod in pods if _report(pod).get("status") == UNHEALTHY)
    return f"{len(troubled)} of {len(pods)} pods ({listed(troubled)})" if troubled else None


def _report(pod: PodFacts) -> Mapping[str, Any]:
    checks = (pod.health or {}).get("checks")
    report = checks.get("cache") if isinstance(checks, Mapping) else None
    return report if isinstance(report, Mapping) else {}


CACHE_READY: Final[tuple[Check, ...]] = (credentials_given, pods_report, pods_reach_the_cache)
