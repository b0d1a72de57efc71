"""How many pods there are, when the workspace leaves that to the load."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.models import Autoscaling
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.scaling import scaling
from sibyl_operator.desired.names import Names


def horizontal_pod_autoscaler(resource: WorkspaceResource, names: Names) -> dict[str, Any] | None:
    """The autoscaler, or None when the number of pods is fixed."""
    bounds = scaling(resource.spec.runtime)
    if bounds is None:
        return None
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": names.metadata(names.runtime),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.runtime},
            "minReplicas": bounds.min_replicas,
            "maxReplicas": bounds.max_replicas,
            "metrics": [
                _utilization("cpu", bounds.target_cpu_utilization),
                _utilization("memory", bounds.target_memory_utilization),
            ],
            **_behavior(bounds),
        },
    }


def _behavior(bounds: Autoscaling) -> dict[str, Any]:
    """What the workspace says of the pace; empty where it says nothing, so that Kubernetes' own defaults hold."""
    said = {} if bounds.behavior is None else bounds.behavior.model_dump(mode="json", exclude_none=True)
    directions = {name: _said(direction) for name, direction in said.items()}
    found = {name: direction for name, direction in directions.items() if direction}
    return {"behavior": found} if found else {}


def _said(direction: dict[str, Any]) -> dict[str, Any]:
    """The direction without an empty list of policies, which Kubernetes refuses."""
    return {name: value for name, value in direction.items() if value != []}


def _utilization(resource: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}
