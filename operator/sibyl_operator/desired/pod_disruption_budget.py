"""What voluntary disruptions may take away at once."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.scaling import replica_bounds
from sibyl_operator.desired.names import Names


def pod_disruption_budget(resource: WorkspaceResource, names: Names) -> dict[str, Any] | None:
    """One pod at a time; None below two pods, where a budget only blocks the draining of a node."""
    if replica_bounds(resource.spec.runtime).fewest < 2:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(names.runtime),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector()},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
