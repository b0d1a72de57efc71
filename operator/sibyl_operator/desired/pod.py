"""The pod of the runtime: restricted, probed, spread over nodes, and given what the document refers to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from sibyl_operator.api.disk_cache import CACHE_BYTES, CACHE_DIRECTORY, disk_bytes, own_volume
from sibyl_operator.api.models import EnvironmentVariable, Resources, RuntimeSpec
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source, key_of_variable
from sibyl_operator.desired.cache.environment import cache_environment
from sibyl_operator.desired.config_map import DOCUMENT_KEY
from sibyl_operator.desired.database.environment import database_environment
from sibyl_operator.desired.document import config_hash
from sibyl_operator.desired.names import CONFIG_HASH, SOURCES_HASH, Names
from sibyl_operator.desired.pulling import pull_secrets
from sibyl_operator.desired.sources import sources_hash
from sibyl_operator.desired.variables import from_source
from sibyl_operator.observed import SourceFacts

CONTAINER: Final = "runtime"
USER: Final = 65532
DISK_CACHE: Final = "disk-cache"
CONFIG_DIRECTORY: Final = "/etc/sibyl"
# The root file system is read-only: whoever looks for a home, a cache or a data directory finds one that is not.
WRITABLE_DIRECTORIES: Final[Mapping[str, str]] = {
    "HOME": "/tmp",
    "SIBYL_DATA_DIR": CACHE_DIRECTORY,
    "XDG_CACHE_HOME": CACHE_DIRECTORY,
}
# A pod leaves the endpoints of its Service a moment after it is told to stop: until then it must go on accepting.
LAME_DUCK_SECONDS: Final = 5
# From the end of the last request to the end of the process: pools and caches are closed.
CLOSING_SECONDS: Final = 10


def pod_template(resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]) -> dict[str, Any]:
    """Metadata and spec of the pods. Their annotations move whenever anything that they read at start moves."""
    added = resource.spec.runtime.pod_template
    metrics_port = resource.document.observability.metrics.port
    return {
        "metadata": {
            "labels": {**added.labels, **names.pod_labels()},
            "annotations": {
                **added.annotations,
                CONFIG_HASH: config_hash(resource),
                SOURCES_HASH: sources_hash(resource, sources),
                "prometheus.io/path": "/metrics",
                "prometheus.io/port": str(metrics_port),
                "prometheus.io/scrape": "true",
            },
        },
        "spec": _pod_spec(resource, names),
    }


def _pod_spec(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    added = resource.spec.runtime.pod_template
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [_container(resource, names)],
        "enableServiceLinks": False,
        **pull_secrets(resource),
        "securityContext": {
            "fsGroup": USER,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": names.runtime,
        "terminationGracePeriodSeconds": _grace_seconds(resource),
        "topologySpreadConstraints": [
            _spread("kubernetes.io/hostname", names),
            _spread("topology.kubernetes.io/zone", names),
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": names.config}},
            *_cache_volumes(resource),
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }
    if added.node_selector:
        spec["nodeSelector"] = dict(added.node_selector)
    if added.tolerations:
        spec["tolerations"] = [item.model_dump(exclude_none=True) for item in added.tolerations]
    return spec


def _cache_volumes(resource: WorkspaceResource) -> list[dict[str, Any]]:
    """What the runtime may write to; the disk level of its caches, which bounds itself, has room in it or beside it."""
    room = disk_bytes(resource.document)
    if own_volume(resource.document) is None:
        return [{"name": "cache", "emptyDir": {"sizeLimit": _size(CACHE_BYTES + room)}}]
    return [
        {"name": "cache", "emptyDir": {"sizeLimit": _size(CACHE_BYTES)}},
        {"name": DISK_CACHE, "emptyDir": {"sizeLimit": _size(room)}},
    ]


def _cache_mounts(resource: WorkspaceResource) -> list[dict[str, Any]]:
    path = own_volume(resource.document)
    return [] if path is None else [{"name": DISK_CACHE, "mountPath": path}]


def _size(count: int) -> str:
    """Bytes as Kubernetes writes them: whole Mi, rounded up."""
    mebibytes = -(-count // 2**20)
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"


def _container(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    runtime = resource.spec.runtime
    return {
        "name": CONTAINER,
        "image": runtime.image or resource.images.runtime,
        "imagePullPolicy": runtime.image_pull_policy,
        "command": ["sibyl", "serve", "--file", f"{CONFIG_DIRECTORY}/{DOCUMENT_KEY}"],
        "env": _environment(resource, names, runtime),
        "ports": [
            {"name": "http", "containerPort": resource.document.mcp.port, "protocol": "TCP"},
            {"name": "metrics", "containerPort": resource.document.observability.metrics.port, "protocol": "TCP"},
        ],
        # Two minutes to load the model; then liveness, which asks nothing of database or model, so that an outage of
        # theirs never restarts a pod; and readiness, which takes the pod out of the Service while it cannot answer.
        "startupProbe": _probe("/health/live", period=1, failures=120),
        "livenessProbe": _probe("/health/live", period=10, failures=3),
        "readinessProbe": _probe("/health/ready", period=5, failures=2),
        # What the runtime says when it cannot start is then in the pod's status, and from there in the workspace's.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "lifecycle": {"preStop": {"sleep": {"seconds": LAME_DUCK_SECONDS}}},
        "resources": _resources(runtime.resources, storage=disk_bytes(resource.document)),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "cache", "mountPath": CACHE_DIRECTORY},
            *_cache_mounts(resource),
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _environment(resource: WorkspaceResource, names: Names, runtime: RuntimeSpec) -> list[dict[str, Any]]:
    """The user's variables, the directories that libraries may write to, and the credentials of the spec."""
    variables = [_variable(variable) for variable in runtime.env]
    taken = {variable.name for variable in runtime.env}
    variables += [{"name": name, "value": path} for name, path in WRITABLE_DIRECTORIES.items() if name not in taken]
    return [*variables, *database_environment(resource, names), *cache_environment(resource, names)]


def _variable(variable: EnvironmentVariable) -> dict[str, Any]:
    taken = key_of_variable(variable)
    if taken is not None:
        return from_source(variable.name, taken)
    return {"name": variable.name, "value": variable.value or ""}


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def _resources(resources: Resources, *, storage: int) -> dict[str, Any]:
    """`storage` is asked for, so that a node has it when the pod comes; what is used is limited by the volume."""
    limits = {"memory": resources.limits.memory}
    if resources.limits.cpu is not None:
        limits["cpu"] = resources.limits.cpu
    requests = {"cpu": resources.requests.cpu, "memory": resources.requests.memory}
    if storage:
        requests["ephemeral-storage"] = _size(storage)
    return {"requests": requests, "limits": limits}


def _spread(key: str, names: Names) -> dict[str, Any]:
    """Evenly where there is room; a full zone never keeps a pod from starting."""
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.selector()},
    }


def _grace_seconds(resource: WorkspaceResource) -> int:
    """Long enough for the last request that the pod may have taken."""
    return LAME_DUCK_SECONDS + math.ceil(resource.document.mcp.timeout) + CLOSING_SECONDS
