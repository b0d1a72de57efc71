"""The Deployment of the cache: one restricted pod that is replaced whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from sibyl_operator.api.cache_memory import memory_limit
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.cache.config_map import (
    CONFIG_DIRECTORY,
    PORT,
    RUN_DIRECTORY,
    SECRET_DIRECTORY,
    START_KEY,
    configuration,
)
from sibyl_operator.desired.credentials import PASSWORD_KEY
from sibyl_operator.desired.names import CACHE, CONFIG_HASH, SOURCES_HASH, Names
from sibyl_operator.desired.pulling import pull_secrets
from sibyl_operator.desired.sources import digest_of
from sibyl_operator.observed import SourceFacts

CONTAINER: Final = "redis"
# The user that the images of Redis have, though any would do: nothing of the image is written to.
USER: Final = 999
GRACE_SECONDS: Final = 10


def cache_deployment(
    resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]
) -> dict[str, Any]:
    """A Deployment and no StatefulSet: a cache has no volume and no identity to keep, and a Deployment replaces the pod
    of a lost node, which a StatefulSet waits for. Recreate, because two caches behind one Service would share nothing.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(names.cache, component=CACHE),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": names.selector(CACHE)},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {
                    "labels": names.pod_labels(CACHE),
                    "annotations": {
                        CONFIG_HASH: _configuration_hash(resource),
                        SOURCES_HASH: digest_of((Source("Secret", names.cache),), sources),
                    },
                },
                "spec": _pod_spec(resource, names),
            },
        },
    }


def _configuration_hash(resource: WorkspaceResource) -> str:
    text = json.dumps(configuration(resource), sort_keys=True)
    return f"v1-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _pod_spec(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "containers": [_container(resource)],
        "enableServiceLinks": False,
        **pull_secrets(resource),
        "securityContext": {
            "fsGroup": USER,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": names.cache,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "volumes": [
            {"name": "config", "configMap": {"name": names.cache}},
            {
                "name": "password",
                "secret": {
                    "secretName": names.cache,
                    "items": [{"key": PASSWORD_KEY, "path": PASSWORD_KEY}],
                    "defaultMode": 0o440,
                },
            },
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }


def _container(resource: WorkspaceResource) -> dict[str, Any]:
    memory = memory_limit(resource.spec.cache.memory)
    return {
        "name": CONTAINER,
        "image": resource.spec.cache.image or resource.images.cache,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", f"{CONFIG_DIRECTORY}/{START_KEY}"],
        "ports": [{"name": "redis", "containerPort": PORT, "protocol": "TCP"}],
        # Connections, not commands: no password to hand over, no client that an image may lack, and no process beside
        # Redis within its memory limit. Whether it answers, the runtime pods say.
        "startupProbe": _probe(period=1, failures=30),
        "livenessProbe": _probe(period=10, failures=3),
        "readinessProbe": _probe(period=5, failures=2),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # A cache fills whatever it is given, so all of it is reserved.
        "resources": {"requests": {"cpu": "50m", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "password", "mountPath": SECRET_DIRECTORY, "readOnly": True},
            {"name": "run", "mountPath": RUN_DIRECTORY},
        ],
    }


def _probe(*, period: int, failures: int) -> dict[str, Any]:
    return {
        "tcpSocket": {"port": "redis"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
        "successThreshold": 1,
    }
