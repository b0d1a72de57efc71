"""The network of a Builtin cache."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.cache.config_map import PORT
from sibyl_operator.desired.names import CACHE, RUNTIME, Names
from sibyl_operator.desired.network_policy.rules import pods, policy, ports


def cache_policy(resource: WorkspaceResource, names: Names) -> dict[str, Any] | None:
    """The runtime alone may ask it, and it asks nobody."""
    if resource.spec.cache.provider != "Builtin":
        return None
    asked = {"from": [pods(RUNTIME, names)], "ports": ports(PORT)}
    return policy(names.cache, CACHE, names, ingress=[asked], egress=[])
