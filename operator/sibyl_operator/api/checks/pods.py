"""Checks that every component's pods share: are they created, do they start, and what keeps them from it?

A component says in `Advice` what its spec calls the things that may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sibyl_operator.api.condition import Finding
from sibyl_operator.observed import OUT_OF_MEMORY, Observed, PodFacts

# What a pod waits for on its way up; everything else that it waits for is a failure.
STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
USER_ERRORS: Final = frozenset({"InvalidImageName"})
_DESCRIBE: Final = "see: kubectl -n {namespace} describe pod {pod}"


@dataclass(frozen=True)
class Advice:
    """What to do about a component's pods, in the words of its spec.

    `image`, `reserved` and `memory` are paths of fields: what names the image, and decides the requests and the memory
    limit. `reasons` answers further waiting reasons, or the same ones differently; `{namespace}` and `{pod}` are filled
    in.
    """

    image: str
    reserved: str
    memory: str
    reasons: Mapping[str, str] = field(default_factory=dict)

    def of(self, reason: str) -> str:
        """The next step for one waiting reason."""
        pull = f"check {self.image}, and that the nodes may pull it, for example with spec.imagePullSecrets"
        common = {
            "CrashLoopBackOff": "see why: kubectl -n {namespace} logs {pod} --previous",
            "ErrImageNeverPull": "load the image onto the node",
            "ErrImagePull": pull,
            "ImagePullBackOff": pull,
            "InvalidImageName": f"correct {self.image}",
            "Unschedulable": f"add nodes, or lower {self.reserved}",
        }
        return {**common, **self.reasons}.get(reason, _DESCRIBE)


def alive(pods: Iterable[PodFacts]) -> tuple[PodFacts, ...]:
    """The pods that are not on their way out."""
    return tuple(pod for pod in pods if not pod.terminating)


def service_pods(observed: Observed, *components: str) -> tuple[PodFacts, ...]:
    """The pods of a database or a cache that are not on their way out."""
    return alive(pod for component in components for pod in observed.service_pods.get(component, ()))


def start_finding(observed: Observed, pods: Iterable[PodFacts], advice: Advice) -> Finding | None:
    """The first pod that is held up by something that waiting does not mend."""
    held_up = [(reason, pod) for pod in alive(pods) if (reason := held_up_by(pod)) is not None]
    if not held_up:
        return None
    reason, pod = min(held_up, key=lambda found: found[1].name)
    others = f" (and {len(held_up) - 1} more pods)" if len(held_up) > 1 else ""
    step = advice.of(reason).format(namespace=observed.resource.namespace, pod=pod.name)
    if pod.last_words == OUT_OF_MEMORY:
        step = f"raise {advice.memory}"
    return Finding(reason, f"pod {pod.name}{others}: {_story(reason, pod)}; {step}", stalls=reason in USER_ERRORS)


def held_up_by(pod: PodFacts) -> str | None:
    """Why the pod does not start; a container that ended before runs for a moment between two ends."""
    if pod.waiting_reason:
        return None if pod.waiting_reason in STARTING else pod.waiting_reason
    return "CrashLoopBackOff" if pod.restarts and not pod.ready else None


def _story(reason: str, pod: PodFacts) -> str:
    restarts = f", {pod.restarts} restarts" if pod.restarts else ""
    message = pod.last_words or pod.waiting_message
    return f"{reason}{restarts}{f': {message}' if message else ''}"


def creation_finding(workload: Mapping[str, Any] | None, advice: Advice) -> Finding | None:
    """A Deployment whose pods the API server refuses, by a quota or an admission rule: there is no pod to look at."""
    for condition in (workload or {}).get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            message = condition.get("message", condition.get("reason", ""))
            step = f"raise the quota or change the rule that it names, or lower {advice.reserved}"
            if "must specify" in message:
                step = "give the namespace a LimitRange with a default for what is missing, or take it from the quota"
            return Finding("PodsRefused", f"the API server refuses the pods: {message}; {step}")
    return None
