"""Checks of ConfigApplied: every pod itself says that it serves the configuration that it should."""

from __future__ import annotations

from typing import Final

from sibyl_operator.api.checks.runtime import running_pods
from sibyl_operator.api.condition import Check, Finding, listed
from sibyl_operator.observed import Observed


def pods_exist(observed: Observed) -> Finding | None:
    """Without a pod there is nobody to ask."""
    if running_pods(observed):
        return None
    return Finding("NoPods", "no pod runs that could have loaded the configuration", status="Unknown")


def no_pod_serves_another(observed: Observed) -> Finding | None:
    """No pod answered with the hash of another document."""
    pods = running_pods(observed)
    others = sorted((pod.name, pod.loaded_hash) for pod in pods if pod.loaded_hash not in (None, observed.config_hash))
    if not others:
        return None
    return Finding(
        "OldConfiguration",
        f"{len(others)} of {len(pods)} pods serve another configuration than {observed.config_hash}: "
        f"{listed([f'{name} ({loaded})' for name, loaded in others])}; the rollout replaces them",
    )


def every_pod_answers(observed: Observed) -> Finding | None:
    """Every pod that serves answered at all; one that is on its way up beside them serves nobody yet."""
    pods = running_pods(observed)
    pods = tuple(pod for pod in pods if pod.ready) or pods
    silent = sorted((pod.name, pod.error or "it does not say what it loaded") for pod in pods if not pod.loaded_hash)
    if not silent:
        return None
    return Finding(
        "PodsNotAnswering",
        f"{len(silent)} of {len(pods)} pods do not say which configuration they serve: "
        f"{listed([f'{name} ({error})' for name, error in silent])}; wait until they are ready, or see: kubectl -n "
        f"{observed.resource.namespace} logs {silent[0][0]}",
    )


CONFIG_APPLIED: Final[tuple[Check, ...]] = (pods_exist, no_pod_serves_another, every_pod_answers)
