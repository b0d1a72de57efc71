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
    elif stored["kind"] == "Service" and spec is not None:
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("clusterIP", "10.96.0.7")
        for port in spec.get("ports", ()):
            port.setdefault("protocol", "TCP")
    elif stored["kind"] == "NetworkPolicy" and spec is not None:
        for direction in ("ingress", "egress"):
            if not spec.get(direction):
                spec.pop(direction, None)
    return stored


def _default_container(container: dict[str, Any]) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for amounts in (container.get("resources") or {}).values():
        for name, amount in amounts.items():
            if name == "cpu" and str(amount).endswith("000m"):
                amounts[name] = str(amount).removesuffix("000m")
