"""The address of the cache inside the cluster."""

from __future__ import annotations

from typing import Any

from sibyl_operator.desired.cache.config_map import PORT
from sibyl_operator.desired.names import CACHE, Names


def cache_service(names: Names) -> dict[str, Any]:
    """A Service over the one pod, so that its address outlives it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(names.cache, component=CACHE),
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(CACHE),
            "ports": [
                {"name": "redis", "port": PORT, "targetPort": "redis", "protocol": "TCP", "appProtocol": "redis"}
            ],
        },
    }
