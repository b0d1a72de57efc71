"""The status of a pod as a pure function of what is known about its container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from e2e.cluster.container_process import Exit
from e2e.cluster.pod_spec import Pod, container_of

NODE_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Waiting:
    """The container is not running; `reason` is the kubelet's word, such as CrashLoopBackOff."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Running:
    """The container runs since `started` (seconds since the epoch)."""

    started: float


State = Waiting | Running | Exit


@dataclass(frozen=True)
class ContainerFacts:
    """All that the status of a pod says about its container."""

    state: State
    last_exit: Exit | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    probe_message: str = ""
    uid: str = ""


@dataclass
class Transitions:
    """Remembers since when each condition has its present status."""

    _since: dict[str, tuple[str, float]] = field(default_factory=dict)

    def since(self, condition: str, status: str, now: float) -> float:
        """The time of the last change of this condition to `status`."""
        known = self._since.get(condition)
        if known is None or known[0] != status:
            known = self._since[condition] = (status, now)
        return known[1]


def pod_status(
    pod: Pod, address: str, began: float, facts: ContainerFacts, transitions: Transitions, now: float
) -> dict[str, Any]:
    """The body of a strategic merge patch of pods/status; equal facts give an equal body."""
    restarts = pod["spec"].get("restartPolicy", "Always")
    phase = pod_phase(facts.state, facts.last_exit is not None, restarts)
    completed = "PodCompleted" if phase in ("Succeeded", "Failed") else ""
    reason = "" if facts.ready else completed or "ContainersNotReady"
    name = container_of(pod)["name"]
    message = "" if facts.ready else f"containers with unready status: [{name}] {facts.probe_message}".strip()
    conditions = [
        _condition("PodScheduled", True, transitions, now),
        _condition("Initialized", True, transitions, now),
        _condition("ContainersReady", facts.ready, transitions, now, reason, message),
        _condition("Ready", facts.ready, transitions, now, reason, message),
    ]
    return {
        "phase": phase,
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": timestamp(began),
        "observedGeneration": pod["metadata"].get("generation"),
        "conditions": conditions,
        "containerStatuses": [_container_status(pod, facts)],
    }


def pod_phase(state: State, ran_before: bool, restart_policy: str) -> str:
    """Pending until the first start; then Running, until it has ended for good."""
    if isinstance(state, Exit):
        if ends_for_good(state, restart_policy):
            return "Succeeded" if state.code == 0 else "Failed"
        return "Running"
    return "Running" if isinstance(state, Running) or ran_before else "Pending"


def ends_for_good(exit_: Exit, restart_policy: str) -> bool:
    """Whether this exit is the pod's end under its restart policy."""
    return restart_policy == "Never" or (restart_policy == "OnFailure" and exit_.code == 0)


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(
    kind: str, status: bool, transitions: Transitions, now: float, reason: str = "", message: str = ""
) -> dict[str, Any]:
    word = "True" if status else "False"
    return {
        "type": kind,
        "status": word,
        "lastTransitionTime": timestamp(transitions.since(kind, word, now)),
        # Null removes what an earlier patch has set.
        "reason": reason or None,
        "message": message or None,
    }


def _container_status(pod: Pod, facts: ContainerFacts) -> dict[str, Any]:
    container = container_of(pod)
    status: dict[str, Any] = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "containerID": f"process://{facts.uid}" if facts.uid else "",
        "restartCount": facts.restarts,
        "started": facts.started,
        "ready": facts.ready,
        "state": _state(facts.state),
    }
    if facts.last_exit is not None:
        status["lastState"] = _state(facts.last_exit)
    return status


def _state(state: State) -> Mapping[str, Any]:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, "message": message}}
        case Running(started):
            return {"running": {"startedAt": timestamp(started)}}
        case Exit(code, started, finished, message):
            return {
                "terminated": {
                    "exitCode": code,
                    "reason": "Completed" if code == 0 else "Error",
                    "message": message,
                    "startedAt": timestamp(started),
                    "finishedAt": timestamp(finished),
                }
            }
