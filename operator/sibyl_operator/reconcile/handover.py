"""Hands `spec.replicas` of a running Deployment from us to the autoscaler without dropping to one pod.

A field that its only owner no longer applies is removed, and a Deployment without replicas defaults to 1. So a second
manager takes the present number over first; then we let go, and the autoscaler's first write takes it from there.
The way back needs no help: we apply replicas by force, and only then is the autoscaler pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.kube import FIELD_MANAGER, Manifest


def lets_go_of_replicas(desired: Mapping[str, Any]) -> bool:
    """Whether the manifest is a Deployment that leaves its number of pods to somebody else."""
    return bool(desired["kind"] == "Deployment" and "replicas" not in desired["spec"])


def handover(desired: Mapping[str, Any], live: Mapping[str, Any]) -> Manifest | None:
    """What the handover manager has to apply before `desired`; None when we do not hold the field.

    `live` must come fresh from the API server, with managedFields: its resourceVersion is a precondition, so a number
    that the autoscaler has changed meanwhile is never written back.
    """
    if not lets_go_of_replicas(desired) or not _holds_replicas(live, FIELD_MANAGER):
        return None
    metadata = live["metadata"]
    return {
        "apiVersion": desired["apiVersion"],
        "kind": desired["kind"],
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")},
        "spec": {"replicas": live["spec"]["replicas"]},
    }


def _holds_replicas(live: Mapping[str, Any], manager: str) -> bool:
    return any(
        entry["manager"] == manager
        and entry["operation"] == "Apply"
        and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in live["metadata"].get("managedFields") or ()
    )
