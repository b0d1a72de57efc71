"""What primary and read replicas of a Builtin database have in common: image, volumes, probes, restrictions, sizes."""

from __future__ import annotations

import math
from typing import Any, Final

from sibyl_operator.api.models import DatabaseResources, DatabaseStorage
from sibyl_operator.api.quantity import amount
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.scaling import planned_connections
from sibyl_operator.database.settings import ServerSize, shared_memory
from sibyl_operator.desired.names import Names
from sibyl_operator.desired.pulling import pull_secrets

CONTAINER: Final = "postgres"
PREPARATION: Final = "prepare"
PORT: Final = 5432
# The user `postgres` of the public images; initdb wants a name for whoever runs it.
USER: Final = 999
DATA_VOLUME: Final = "data"
# From the signal to stop to the end: connections are closed at once, then a checkpoint is written.
GRACE_SECONDS: Final = 120

CONFIG_DIRECTORY: Final = "/etc/sibyl-database"
APP_CREDENTIALS: Final = "/etc/sibyl-credentials/app"
REPLICATION_CREDENTIALS: Final = "/etc/sibyl-credentials/replication"
RUN_DIRECTORY: Final = "/run/sibyl-database"
DATA_DIRECTORY: Final = "/var/lib/postgresql"
PGDATA: Final = f"{DATA_DIRECTORY}/pgdata"
MIB: Final = 1024 * 1024


def storage_of(resource: WorkspaceResource) -> DatabaseStorage:
    """The volume in effect."""
    return resource.spec.database.storage or DatabaseStorage()


def server_size(resource: WorkspaceResource) -> ServerSize:
    """What one server may use. Without a limit of CPU it may have more than it asked for."""
    resources = resource.spec.database.resources or DatabaseResources()
    limit = resources.limits.cpu
    cores = math.ceil(amount(limit)) if limit is not None else max(2, math.ceil(amount(resources.requests.cpu)))
    return ServerSize(
        memory=int(amount(resources.limits.memory)),
        storage=int(amount(storage_of(resource).size)),
        cores=max(1, cores),
        connections=planned_connections(resource),
    )


def pod_spec(resource: WorkspaceResource, names: Names, *, container: dict[str, Any], prepare: dict[str, Any],
             secrets: dict[str, str]) -> dict[str, Any]:  # fmt: skip
    """A restricted pod. `container` and `prepare` add to its two containers; only `prepare` sees the passwords:
    `secrets` are Secrets by the directory that it finds them in."""
    volumes = {name: f"credentials-{number}" for number, name in enumerate(secrets.values())}
    credentials = [
        {"name": volumes[secret], "mountPath": directory, "readOnly": True} for directory, secret in secrets.items()
    ]
    preparation = _container(resource, PREPARATION, **prepare)
    preparation["volumeMounts"] = [*preparation["volumeMounts"], *credentials]
    return {
        "automountServiceAccountToken": False,
        "containers": [_server(resource, **container)],
        "enableServiceLinks": False,
        **pull_secrets(resource),
        "initContainers": [preparation],
        "securityContext": {
            "fsGroup": USER,
            # The first mount is enough: later ones would only make a large volume slow to mount.
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": names.database,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "volumes": [
            {"name": "config", "configMap": {"name": names.database}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _shared_memory(resource)}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
            *(
                {"name": volume, "secret": {"secretName": name, "defaultMode": 0o440}}
                for name, volume in volumes.items()
            ),
        ],
    }


def volume_claims(resource: WorkspaceResource, labels: dict[str, str]) -> list[dict[str, Any]]:
    """The volume of one server. It can never be changed, so its labels are those that never change."""
    storage = storage_of(resource)
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
        "volumeMode": "Filesystem",
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    metadata = {"name": DATA_VOLUME, "labels": labels}
    return [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}]


def _server(resource: WorkspaceResource, **more: Any) -> dict[str, Any]:
    return {
        **_container(resource, CONTAINER, **more),
        "ports": [{"name": "postgresql", "containerPort": PORT, "protocol": "TCP"}],
        # An hour for the recovery after a crash. Then liveness, which a recovery does not fail, because the port stays
        # open; and readiness, which asks whether queries are taken.
        "startupProbe": _probe({"exec": _script("probe.sh")}, period=2, failures=1800),
        "livenessProbe": _probe({"tcpSocket": {"port": "postgresql"}}, period=10, failures=6),
        "readinessProbe": _probe({"exec": _script("probe.sh")}, period=5, failures=2),
        "lifecycle": {"preStop": {"exec": _script("stop.sh")}},
    }


def _container(resource: WorkspaceResource, name: str, *, script: str, environment: dict[str, Any]) -> dict[str, Any]:
    variables = {
        "DATABASE_CONFIG": CONFIG_DIRECTORY,
        "DATABASE_RUN": RUN_DIRECTORY,
        "HOME": "/tmp",
        "PGDATA": PGDATA,
        **environment,
    }
    return {
        "name": name,
        "image": resource.spec.database.image or resource.images.database,
        "imagePullPolicy": "IfNotPresent",
        **_script(script),
        "env": [
            {"name": key, **({"value": value} if isinstance(value, str) else {"valueFrom": value})}
            for key, value in variables.items()
        ],
        # What it says when it cannot go on is then in the pod's status, and from there in the workspace's.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(resource),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": DATA_VOLUME, "mountPath": DATA_DIRECTORY},
            {"name": "run", "mountPath": RUN_DIRECTORY},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _script(name: str) -> dict[str, Any]:
    return {"command": ["sh", f"{CONFIG_DIRECTORY}/{name}"]}


def _probe(question: dict[str, Any], *, period: int, failures: int) -> dict[str, Any]:
    return {**question, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def _resources(resource: WorkspaceResource) -> dict[str, Any]:
    resources = resource.spec.database.resources or DatabaseResources()
    cpu = {} if resources.limits.cpu is None else {"cpu": resources.limits.cpu}
    return {
        "requests": {"cpu": resources.requests.cpu, "memory": resources.requests.memory},
        "limits": {**cpu, "memory": resources.limits.memory},
    }


def _shared_memory(resource: WorkspaceResource) -> str:
    return f"{shared_memory(server_size(resource).memory) // MIB}Mi"
