"""Where the servers of a Builtin database are found."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.database.server import PORT
from sibyl_operator.desired.names import DATABASE, DATABASE_REPLICA, Names


def read_write(names: Names) -> dict[str, Any]:
    """The primary."""
    return _service(names, names.database_read_write, component=DATABASE, selects=DATABASE)


def read_only(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    """Any read replica; the primary while there is none, so that the name can be relied on."""
    selects = DATABASE_REPLICA if resource.spec.database.read_replicas else DATABASE
    return _service(names, names.database_read_only, component=DATABASE, selects=selects)


def replica_names(resource: WorkspaceResource, names: Names) -> dict[str, Any] | None:
    """Gives each read replica that takes queries a name of its own; None without readReplicas."""
    if not resource.spec.database.read_replicas:
        return None
    service = _service(names, names.database_replica, component=DATABASE_REPLICA, selects=DATABASE_REPLICA)
    return {**service, "spec": {**service["spec"], "clusterIP": "None", "publishNotReadyAddresses": False}}


def _service(names: Names, name: str, *, component: str, selects: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(name, component=component),
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(selects),
            "ports": [{"name": "postgresql", "port": PORT, "targetPort": "postgresql", "protocol": "TCP"}],
        },
    }
