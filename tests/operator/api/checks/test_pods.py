"""What keeps the pods of any component from starting, told in the words of that component's spec."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.api.checks.pods import Advice, creation_finding, service_pods, start_finding
from sibyl_operator.observed import OUT_OF_MEMORY
from tests.operator.api.advice import PULL
from tests.operator.api.facts import observed, pod

ADVICE = Advice(
    image="spec.cache.image",
    reserved="spec.cache.memory",
    memory="spec.part.limits.memory",
    reasons={"CrashLoopBackOff": "wait, or read {pod}"},
)


@pytest.mark.parametrize(
    ("waiting", "advice"),
    [
        ("ErrImagePull", f"check spec.cache.image, {PULL}"),
        ("ImagePullBackOff", f"check spec.cache.image, {PULL}"),
        ("ErrImageNeverPull", "load the image onto the node"),
        ("InvalidImageName", "correct spec.cache.image"),
        ("Unschedulable", "add nodes, or lower spec.cache.memory"),
        ("CrashLoopBackOff", "wait, or read docs-cache-a"),
        ("CreateContainerError", "see: kubectl -n team describe pod docs-cache-a"),
    ],
)
def test_the_next_step_names_the_fields_of_the_component(waiting: str, advice: str) -> None:
    held = pod("docs-cache-a", None, ready=False, waiting_reason=waiting, waiting_message="because")
    found = start_finding(observed(), [held], ADVICE)
    assert found is not None
    assert (found.reason, found.message) == (waiting, f"pod docs-cache-a: {waiting}: because; {advice}")
    assert found.stalls == (waiting == "InvalidImageName")


def test_want_of_memory_names_the_field_of_the_limit() -> None:
    killed = pod("a", None, ready=False, waiting_reason="CrashLoopBackOff", restarts=2, last_words=OUT_OF_MEMORY)
    found = start_finding(observed(), [killed], ADVICE)
    assert found is not None
    assert found.message == (
        "pod a: CrashLoopBackOff, 2 restarts: it was killed because it needed more memory than its limit; "
        "raise spec.part.limits.memory"
    )


def test_a_quota_that_wants_what_the_pods_do_not_say_is_mended_by_a_default() -> None:
    message = 'pods "a" is forbidden: failed quota: small: must specify limits.cpu for: redis'
    refused = {"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": message}]}}
    found = creation_finding(refused, ADVICE)
    assert found is not None
    assert found.message == (
        f"the API server refuses the pods: {message}; give the namespace a LimitRange with a default for what is "
        "missing, or take it from the quota"
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"ready": True, "restarts": 3},
        {"ready": False},
        {"ready": False, "waiting_reason": "ContainerCreating"},
        {"ready": False, "waiting_reason": "PodInitializing"},
        {"ready": False, "terminating": True, "waiting_reason": "ImagePullBackOff"},
    ],
)
def test_a_pod_that_runs_starts_or_goes_is_not_held_up(facts: dict[str, Any]) -> None:
    assert start_finding(observed(), [pod("a", None, **facts)], ADVICE) is None


def test_the_pods_of_one_component_are_those_that_stay() -> None:
    pods = {"cache": (pod("a", None), pod("b", None, terminating=True)), "database": (pod("c", None),)}
    of = observed(service_pods=pods)
    assert [found.name for found in service_pods(of, "cache")] == ["a"]
    assert [found.name for found in service_pods(of, "cache", "database")] == ["a", "c"]


def test_pods_that_the_api_server_refuses_are_told_in_its_own_words() -> None:
    refused = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": 'pods "docs-cache-1" is forbidden: exceeded quota: small, requested: requests.memory=256Mi',
    }
    found = creation_finding({"status": {"conditions": [refused]}}, ADVICE)
    assert found is not None
    assert (found.reason, found.status) == ("PodsRefused", "False")
    assert found.message == (
        'the API server refuses the pods: pods "docs-cache-1" is forbidden: exceeded quota: small, requested: '
        "requests.memory=256Mi; raise the quota or change the rule that it names, or lower spec.cache.memory"
    )
    assert creation_finding({"status": {"conditions": [refused | {"status": "False"}]}}, ADVICE) is None
    assert creation_finding(None, ADVICE) is None
