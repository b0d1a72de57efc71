"""The network of a Builtin database's primary."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.names import DATABASE, DATABASE_REPLICA, RUNTIME, Names
from sibyl_operator.desired.network_policy.rules import OPERATOR, POSTGRES_PORT, pods, policy, ports


def database_policy(resource: WorkspaceResource, names: Names) -> dict[str, Any] | None:
    """The runtime, the operator and its own replicas may ask it, and it asks nobody: replicas come for their data."""
    database = resource.spec.database
    if database.provider != "Builtin":
        return None
    peers = [pods(RUNTIME, names), OPERATOR]
    if database.read_replicas:
        peers.append(pods(DATABASE_REPLICA, names))
    asked = {"from": peers, "ports": ports(POSTGRES_PORT)}
    return policy(names.database, DATABASE, names, ingress=[asked], egress=[])
