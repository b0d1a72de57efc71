"""The Deployment of the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.scaling import SURGE
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.names import Names
from sibyl_operator.desired.pod import pod_template
from sibyl_operator.observed import SourceFacts


def deployment(resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]) -> dict[str, Any]:
    """The pods of the runtime, replaced one by one. The number of pods is left out where an autoscaler decides it."""
    fixed = {"replicas": resource.spec.runtime.replicas} if resource.spec.runtime.replicas is not None else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(names.runtime),
        "spec": {
            **fixed,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": names.selector()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": SURGE, "maxUnavailable": 0}},
            "template": pod_template(resource, names, sources),
        },
    }
