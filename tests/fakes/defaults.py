"""What the API server adds to an object or writes in other words: enough of it to show that a comparison copes."""

from __future__ import annotations

import json
from typing import Any

from sibyl_operator.kube import Manifest


def defaulted(manifest: Manifest) -> Manifest:
    """The object as it is stored."""
    stored: Manifest = json.loads(json.dumps(manifest))
    spec = stored.get("spec")
    if stored["kind"] == "Deployment" and spec is not None:
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        for container in spec.get("template", {}).get("spec", {}).get("containers", ()):
            _default_container(container)
    elif stored["kind"] == "StatefulSet" and spec is not None:
        _default_stateful_set(spec)
    elif stored["kind"] == "Service" and spec is not None:
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("clusterIP", "10.96.0.7")
        if not spec.get("publishNotReadyAddresses"):
            spec.pop("publishNotReadyAddresses", None)
        for port in spec.get("ports", ()):
            port.setdefault("protocol", "TCP")
    elif stored["kind"] == "NetworkPolicy" and spec is not None:
        for direction in ("ingress", "egress"):
            if not spec.get(direction):
                spec.pop(direction, None)
    return stored


def _default_stateful_set(spec: dict[str, Any]) -> None:
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("updateStrategy", {}).setdefault("type", "RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        spec["updateStrategy"].setdefault("rollingUpdate", {"partition": 0})
    pod = spec.get("template", {}).get("spec", {})
    for container in (*pod.get("containers", ()), *pod.get("initContainers", ())):
        _default_container(container)
    for volume in pod.get("volumes", ()):
        for source in ("configMap", "secret"):
            if source in volume:
                volume[source].setdefault("defaultMode", 0o644)
    for claim in spec.get("volumeClaimTemplates", ()):
        claim.setdefault("status", {"phase": "Pending"})
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _default_container(container: dict[str, Any]) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for amounts in (container.get("resources") or {}).values():
        for name, amount in amounts.items():
            if name == "cpu" and str(amount).endswith("000m"):
                amounts[name] = str(amount).removesuffix("000m")
