"""What voluntary disruptions may take away of the read replicas at once."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.names import DATABASE_REPLICA, Names


def pod_disruption_budget(resource: WorkspaceResource, names: Names) -> dict[str, Any] | None:
    """One replica at a time; None below two. The primary has none: a budget over one pod only blocks draining."""
    if (resource.spec.database.read_replicas or 0) < 2:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(names.database_replica, component=DATABASE_REPLICA),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(DATABASE_REPLICA)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
