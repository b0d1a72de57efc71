"""Checks of RuntimeReady: the children could be written, the pods start, and as many run as should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sibyl_operator.api.checks.pods import Advice, alive, creation_finding, start_finding
from sibyl_operator.api.checks.sources import source_key_finding
from sibyl_operator.api.condition import Check, Finding, listed
from sibyl_operator.api.labels import child_name, label_value
from sibyl_operator.api.scaling import replica_bounds
from sibyl_operator.api.sources import key_of_variable
from sibyl_operator.observed import Observed, PodFacts

ADVICE: Final = Advice(
    image="spec.runtime.image",
    reserved="spec.runtime.resources.requests",
    memory="spec.runtime.resources.limits.memory",
    reasons={
        "CreateContainerConfigError": "create what it names, or correct spec.runtime.env",
        "ErrImageNeverPull": "load the image onto the node, or set spec.runtime.imagePullPolicy",
        "Unschedulable": "add nodes, lower spec.runtime.resources.requests, or relax nodeSelector and tolerations",
    },
)


def no_foreign_objects(observed: Observed) -> Finding | None:
    """An object of our name that is not ours is never overwritten."""
    if not observed.conflicts:
        return None
    return Finding("ResourceConflict", "; ".join(conflict.message for conflict in observed.conflicts), stalls=True)


def children_written(observed: Observed) -> Finding | None:
    """The API server took every child."""
    if not observed.apply_errors:
        return None
    message = "; ".join(dict.fromkeys(f"{error.component}: {error.message}" for error in observed.apply_errors))
    if all(error.transient for error in observed.apply_errors):
        return Finding("ApplyFailed", f"{message}; the operator tries again by itself")
    quota = any("exceeded quota" in error.message for error in observed.apply_errors)
    step = "raise the quota that is named" if quota else "correct the workspace, or the rights of the operator"
    return Finding("ApplyRefused", f"{message}; {step}", stalls=True)


def environment_given(observed: Observed) -> Finding | None:
    """Every Secret and ConfigMap that a variable comes from is there; without it no container can be created."""
    for variable in observed.resource.spec.runtime.env:
        taken = key_of_variable(variable)
        if taken is None:
            continue
        field = f"spec.runtime.env[{variable.name}].{taken.field}"
        finding = source_key_finding(observed, taken, field=field, example="VALUE")
        if finding is not None:
            return finding
    return None


def deployment_seen(observed: Observed) -> Finding | None:
    """The Deployment exists, and its controller has seen the latest of it."""
    deployment = find_child(observed, "Deployment")
    if deployment is None:
        return Finding("DeploymentMissing", "the Deployment does not exist yet; the operator makes it", "Unknown")
    seen = deployment.get("status", {}).get("observedGeneration", 0)
    if seen < deployment["metadata"].get("generation", 0):
        return Finding("RolloutInProgress", "the Deployment's controller has not seen the latest change yet")
    return None


def pods_created(observed: Observed) -> Finding | None:
    """The API server takes the pods."""
    return creation_finding(find_child(observed, "Deployment"), ADVICE)


def pods_start(observed: Observed) -> Finding | None:
    """No pod is held up by something that waiting does not mend."""
    return start_finding(observed, observed.pods, ADVICE)


def rollout_progresses(observed: Observed) -> Finding | None:
    """The Deployment's own deadline for progress has not passed."""
    deployment = find_child(observed, "Deployment") or {}
    for condition in deployment.get("status", {}).get("conditions", []):
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return Finding(
                "RolloutStuck",
                f"the rollout does not progress: {condition.get('message', condition.get('reason', ''))}; "
                f"see: {_kubectl(observed, 'describe pods')}",
                stalls=True,
            )
    return None


def replicas_available(observed: Observed) -> Finding | None:
    """As many pods serve as must. What an autoscaler adds on top may still be starting: that is no trouble."""
    desired, available = desired_replicas(find_child(observed, "Deployment") or {}), available_replicas(observed)
    if available >= min(desired, replica_bounds(observed.resource.spec.runtime).fewest):
        return None
    unready = sorted(pod.name for pod in running_pods(observed) if not pod.ready)
    waiting = f"; not ready: {listed(unready)}" if unready else ""
    return Finding(
        "ReplicasUnavailable",
        f"{available} of {desired} pods are available{waiting}; wait for them, or see: "
        f"{_kubectl(observed, 'get pods')}",
    )


def _kubectl(observed: Observed, command: str) -> str:
    resource = observed.resource
    return f"kubectl -n {resource.namespace} {command} -l sibyl.dev/workspace={label_value(resource.name)}"


def find_child(observed: Observed, kind: str, suffix: str = "runtime") -> Mapping[str, Any] | None:
    """The child `<workspace>-<suffix>` of that kind, as it is in the cluster."""
    return observed.children.get((kind, child_name(observed.resource.name, suffix)))


def desired_replicas(deployment: Mapping[str, Any]) -> int:
    """What the Deployment aims at now: written by us, or by the autoscaler."""
    replicas: int = deployment.get("spec", {}).get("replicas", 1)
    return replicas


def available_replicas(observed: Observed) -> int:
    """The pods that serve, as the Deployment counts them."""
    available: int = (find_child(observed, "Deployment") or {}).get("status", {}).get("availableReplicas", 0)
    return available


def running_pods(observed: Observed) -> tuple[PodFacts, ...]:
    """The pods that are not on their way out."""
    return alive(observed.pods)


RUNTIME_READY: Final[tuple[Check, ...]] = (
    no_foreign_objects,
    children_written,
    environment_given,
    deployment_seen,
    pods_created,
    pods_start,
    rollout_progresses,
    replicas_available,
)
