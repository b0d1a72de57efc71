"""CacheReady of a Redis that the operator runs: what is wrong with its Secret, its pod, or the way to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sibyl_operator.api.conditions import conditions
from sibyl_operator.api.sources import Source
from sibyl_operator.api.status import status
from sibyl_operator.observed import Observed, SourceFacts
from tests.operator.api.advice import PULL
from tests.operator.api.facts import children, observed, pod, resource

CACHED = resource(cache={"provider": "Builtin", "memory": "512Mi"})
HEALTHY = {"checks": {"cache": {"status": "healthy"}}}
UNHEALTHY = {"checks": {"cache": {"status": "unhealthy"}}}


def well(**facts: Any) -> Observed:
    of = observed(CACHED)
    pods = tuple(replace(each, health=HEALTHY) for each in of.pods)
    return replace(of, **{"pods": pods, "service_pods": {"cache": (pod("docs-cache-1", None),)}, **facts})


def cache_pod(**facts: Any) -> Observed:
    return well(service_pods={"cache": (pod("docs-cache-1", None, ready=False, **facts),)})


def secret(*keys: str, exists: bool = True) -> Observed:
    held = SourceFacts(exists, frozenset(keys), "digest")
    return well(sources={**well().sources, Source("Secret", "docs-cache"): held})


def deployment(**changed: Any) -> Observed:
    live = children(CACHED)
    live["Deployment", "docs-cache"]["status"] |= changed
    return well(children=live)


def without_deployment() -> Observed:
    return well(children={key: live for key, live in children(CACHED).items() if key != ("Deployment", "docs-cache")})


def test_a_cache_that_answers_is_ready_and_the_status_tells_where_it_is() -> None:
    of = well()
    found = {condition.type: condition for condition in conditions(of)}
    assert found["CacheReady"].status == found["Ready"].status == "True"
    told = status(of, conditions(of), datetime(2030, 1, 1, tzinfo=UTC))
    assert told["cache"] == {"endpoint": "docs-cache.team.svc:6379", "maxMemory": "384Mi"}


def test_no_other_cache_is_in_the_status() -> None:
    assert "cache" not in status(observed(), [], datetime(2030, 1, 1, tzinfo=UTC))


QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
FINDINGS: list[tuple[Observed, str, str, str]] = [
    (well(sources={}), "Unknown", "SecretNotRead", "Secret docs-cache, with the cache's password, could not be read"),
    (
        secret(exists=False), "Unknown", "SecretMissing",
        "Secret docs-cache, with the cache's password, does not exist yet",
    ),
    (
        secret("username"), "False", "SecretKeyMissing",
        "Secret docs-cache has no key password any more; delete it, and the operator makes it anew: kubectl -n team "
        "delete secret docs-cache",
    ),
    (
        without_deployment(), "Unknown", "CacheMissing",
        "the cache's Deployment does not exist yet; the operator makes it",
    ),
    (
        deployment(observedGeneration=6), "False", "CacheStarting",
        "the controller of the cache's Deployment has not seen the latest change yet",
    ),
    (
        deployment(conditions=[QUOTA]), "False", "PodsRefused",
        "the API server refuses the pods: exceeded quota: small; raise the quota or change the rule that it names, or "
        "lower spec.cache.memory",
    ),
    (
        cache_pod(waiting_reason="ImagePullBackOff", waiting_message="no such image"), "False", "ImagePullBackOff",
        f"pod docs-cache-1: ImagePullBackOff: no such image; check spec.cache.image, {PULL}",
    ),
    (
        cache_pod(restarts=3, last_words="Bad directive or wrong number of arguments"), "False", "CrashLoopBackOff",
        "pod docs-cache-1: CrashLoopBackOff, 3 restarts: Bad directive or wrong number of arguments; see why: kubectl "
        "-n team logs docs-cache-1 --previous",
    ),
    (
        deployment(availableReplicas=0), "False", "CacheStarting",
        "the pod of the cache is not ready, and answers are computed anew each time; wait for it, or see: kubectl -n "
        "team describe deployment docs-cache",
    ),
    (well(pods=observed(CACHED).pods), "Unknown", "NoPodReports", "no pod has said yet how its cache is"),
    (
        well(pods=(replace(well().pods[0], health=UNHEALTHY), well().pods[1])), "False", "CacheUnreachable",
        "1 of 2 pods (docs-a) do not reach the cache; answers are computed anew each time; pods that were started with "
        "an older password are being replaced, else see whether the network lets them reach it, and: kubectl -n team "
        "logs deployment/docs-cache",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("of", "truth", "reason", "message"), FINDINGS, ids=[f"{n}-{case[2]}" for n, case in enumerate(FINDINGS)]
)
def test_what_is_wrong_with_the_cache_is_said_with_the_next_step(
    of: Observed, truth: str, reason: str, message: str
) -> None:
    found = {condition.type: condition for condition in conditions(of)}
    assert (found["CacheReady"].status, found["CacheReady"].reason) == (truth, reason)
    assert found["CacheReady"].message == message
    assert found["Ready"].reason == reason
