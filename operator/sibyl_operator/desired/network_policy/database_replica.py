"""The network of a Builtin database's read replicas."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.names import DATABASE, DATABASE_REPLICA, RUNTIME, Names
from sibyl_operator.desired.network_policy.rules import DNS, OPERATOR, POSTGRES_PORT, pods, policy, ports


def database_replica_policy(resource: WorkspaceResource, names: Names) -> dict[str, Any] | None:
    """The runtime and the operator may ask them, and they fetch their data from the primary."""
    database = resource.spec.database
    if database.provider != "Builtin" or not database.read_replicas:
        return None
    asked = {"from": [pods(RUNTIME, names), OPERATOR], "ports": ports(POSTGRES_PORT)}
    streams = {"to": [pods(DATABASE, names)], "ports": ports(POSTGRES_PORT)}
    return policy(names.database_replica, DATABASE_REPLICA, names, ingress=[asked], egress=[DNS, streams])
