"""The address of the runtime inside the cluster."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.names import Names


def service(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    """A Service over all ready pods, on the ports of the document."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(names.runtime),
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(),
            "ports": [
                _port("http", resource.document.mcp.port),
                _port("metrics", resource.document.observability.metrics.port),
            ],
        },
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": "http"}
