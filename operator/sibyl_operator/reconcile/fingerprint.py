"""Short digests of objects, to see a change that matters and to overlook one that does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_STATUS_BITS: Mapping[str, tuple[str, ...]] = {
    "Deployment": (
        "availableReplicas",
        "observedGeneration",
        "readyReplicas",
        "replicas",
        "unavailableReplicas",
        "updatedReplicas",
    ),
    "HorizontalPodAutoscaler": ("currentReplicas", "desiredReplicas"),
    "StatefulSet": ("observedGeneration", "readyReplicas", "replicas", "updatedReplicas"),
}
_NOT_INTENT = frozenset({"apiVersion", "kind", "metadata", "status"})
_METADATA = ("annotations", "deletionTimestamp", "labels", "ownerReferences", "uid")


def digest(value: Any) -> str:
    """The same for equal JSON values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def intent(manifest: Mapping[str, Any]) -> str:
    """Moves when anything but status, bookkeeping and versions changes."""
    metadata = manifest["metadata"]
    return digest(
        [
            {name: metadata[name] for name in _METADATA if name in metadata},
            {name: value for name, value in manifest.items() if name not in _NOT_INTENT},
        ]
    )


def concern(manifest: Mapping[str, Any]) -> str:
    """Moves when a reconcile might decide otherwise: intent, and the few bits of status that tell readiness."""
    status = manifest.get("status") or {}
    bits = {name: status.get(name) for name in _STATUS_BITS.get(manifest["kind"], ())}
    flags = [(c.get("type"), c.get("status"), c.get("reason")) for c in status.get("conditions") or ()]
    return digest([intent(manifest), bits, flags])
