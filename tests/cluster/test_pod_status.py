"""The status of a pod as a function of facts."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster.container_process import Exit
from e2e.cluster.pod_status import ContainerFacts, Running, State, Transitions, Waiting, pod_phase, pod_status

POD: dict[str, Any] = {"metadata": {"generation": 3}, "spec": {"containers": [{"name": "web", "image": "x:1"}]}}
CRASH = Exit(code=1, started=10.0, finished=20.0, message="no database")
DONE = Exit(code=0, started=10.0, finished=20.0, message="")


def status(facts: ContainerFacts, transitions: Transitions, now: float) -> dict[str, Any]:
    return pod_status(POD, "127.0.0.7", 0.0, facts, transitions, now)


def ready(body: dict[str, Any]) -> dict[str, Any]:
    return next(entry for entry in body["conditions"] if entry["type"] == "Ready")


@pytest.mark.parametrize(
    ("state", "ran_before", "policy", "phase"),
    [
        (Waiting("ContainerCreating"), False, "Always", "Pending"),
        (Waiting("CrashLoopBackOff"), True, "Always", "Running"),
        (Running(1.0), False, "Always", "Running"),
        (CRASH, True, "Always", "Running"),
        (CRASH, True, "OnFailure", "Running"),
        (CRASH, True, "Never", "Failed"),
        (DONE, True, "OnFailure", "Succeeded"),
        (DONE, True, "Never", "Succeeded"),
    ],
)
def test_the_phase_follows_the_state_and_the_restart_policy(
    state: State, ran_before: bool, policy: str, phase: str
) -> None:
    assert pod_phase(state, ran_before, policy) == phase


def test_equal_facts_give_an_equal_status_whenever_it_is_asked() -> None:
    transitions, facts = Transitions(), ContainerFacts(Running(5.0), started=True, ready=True)
    assert status(facts, transitions, 100.0) == status(facts, transitions, 900.0)


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    transitions, facts = Transitions(), ContainerFacts(Running(5.0), started=True)
    assert ready(status(facts, transitions, 60.0))["lastTransitionTime"] == "1970-01-01T00:01:00Z"
    assert ready(status(facts, transitions, 90.0))["lastTransitionTime"] == "1970-01-01T00:01:00Z"
    now_ready = ContainerFacts(Running(5.0), started=True, ready=True)
    condition = ready(status(now_ready, transitions, 120.0))
    assert (condition["status"], condition["lastTransitionTime"]) == ("True", "1970-01-01T00:02:00Z")
    assert condition["reason"] is condition["message"] is None


def test_an_unready_pod_names_its_container_and_the_failing_probe() -> None:
    facts = ContainerFacts(Running(5.0), started=True, probe_message="readinessProbe: refused")
    condition = ready(status(facts, Transitions(), 0.0))
    assert condition["reason"] == "ContainersNotReady"
    assert condition["message"] == "containers with unready status: [web] readinessProbe: refused"


def test_a_restart_shows_how_the_last_run_ended() -> None:
    facts = ContainerFacts(Waiting("CrashLoopBackOff", "back-off"), last_exit=CRASH, restarts=2)
    (container,) = status(facts, Transitions(), 0.0)["containerStatuses"]
    assert container["restartCount"] == 2
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert container["lastState"]["terminated"] == {
        "exitCode": 1,
        "reason": "Error",
        "message": "no database",
        "startedAt": "1970-01-01T00:00:10Z",
        "finishedAt": "1970-01-01T00:00:20Z",
    }
