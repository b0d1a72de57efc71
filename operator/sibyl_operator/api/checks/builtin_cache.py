"""Checks of CacheReady for a Redis that the operator runs: its password, its pod, and what the runtime pods say."""

from __future__ import annotations

from typing import Final

from sibyl_operator.api.checks.cache import pods_report, troubled_pods
from sibyl_operator.api.checks.passwords import passwords_made
from sibyl_operator.api.checks.pods import Advice, creation_finding, service_pods, start_finding
from sibyl_operator.api.checks.runtime import find_child
from sibyl_operator.api.condition import Check, Finding
from sibyl_operator.api.labels import child_name
from sibyl_operator.observed import Observed

COMPONENT: Final = "cache"
ADVICE: Final = Advice(image="spec.cache.image", reserved="spec.cache.memory", memory="spec.cache.memory")


def cache_seen(observed: Observed) -> Finding | None:
    """The Deployment exists, and its controller has seen the latest of it."""
    deployment = find_child(observed, "Deployment", COMPONENT)
    if deployment is None:
        return Finding("CacheMissing", "the cache's Deployment does not exist yet; the operator makes it", "Unknown")
    if deployment.get("status", {}).get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return Finding("CacheStarting", "the controller of the cache's Deployment has not seen the latest change yet")
    return None


def cache_pod_created(observed: Observed) -> Finding | None:
    """The API server takes the pod."""
    return creation_finding(find_child(observed, "Deployment", COMPONENT), ADVICE)


def cache_pod_starts(observed: Observed) -> Finding | None:
    """The pod is not held up by something that waiting does not mend."""
    return start_finding(observed, service_pods(observed, COMPONENT), ADVICE)


def cache_available(observed: Observed) -> Finding | None:
    """Redis takes connections."""
    deployment = find_child(observed, "Deployment", COMPONENT) or {}
    if deployment.get("status", {}).get("availableReplicas", 0) > 0:
        return None
    return Finding(
        "CacheStarting",
        "the pod of the cache is not ready, and answers are computed anew each time; wait for it, or see: kubectl -n "
        f"{observed.resource.namespace} describe deployment {child_name(observed.resource.name, COMPONENT)}",
    )


def pods_reach_the_builtin_cache(observed: Observed) -> Finding | None:
    """No runtime pod reports trouble with the cache."""
    troubled = troubled_pods(observed)
    if troubled is None:
        return None
    return Finding(
        "CacheUnreachable",
        f"{troubled} do not reach the cache; answers are computed anew each time; pods that were started with an older "
        "password are being replaced, else see whether the network lets them reach it, and: kubectl -n "
        f"{observed.resource.namespace} logs deployment/{child_name(observed.resource.name, COMPONENT)}",
    )


BUILTIN_CACHE_READY: Final[tuple[Check, ...]] = (
    passwords_made((COMPONENT,), "the cache's password"),
    cache_seen,
    cache_pod_created,
    cache_pod_starts,
    cache_available,
    pods_report,
    pods_reach_the_builtin_cache,
)
