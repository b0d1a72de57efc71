"""The read replicas of a Builtin database: copies that follow the primary, each with a volume and a name of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.database import server
from sibyl_operator.desired.database.config_map import database_config_hash
from sibyl_operator.desired.names import CONFIG_HASH, DATABASE_REPLICA, SOURCES_HASH, Names
from sibyl_operator.desired.sources import digest_of
from sibyl_operator.observed import SourceFacts


def replicas(resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]) -> dict[str, Any] | None:
    """The StatefulSet; None without readReplicas. A replica holds nothing of its own, so its volume goes with it."""
    number = resource.spec.database.read_replicas
    if not number:
        return None
    annotations = {
        CONFIG_HASH: database_config_hash(resource),
        SOURCES_HASH: digest_of((Source("Secret", names.replication_credentials),), sources),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": names.metadata(names.database_replica, component=DATABASE_REPLICA),
        "spec": {
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
            "podManagementPolicy": "Parallel",
            "replicas": number,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": names.selector(DATABASE_REPLICA)},
            "serviceName": names.database_replica,
            "template": {
                "metadata": {"labels": names.pod_labels(DATABASE_REPLICA), "annotations": annotations},
                "spec": {**_pod_spec(resource, names), "topologySpreadConstraints": [_spread(names)]},
            },
            "updateStrategy": {"type": "RollingUpdate"},
            "volumeClaimTemplates": server.volume_claims(resource, names.selector(DATABASE_REPLICA)),
        },
    }


def _pod_spec(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    environment: dict[str, Any] = {
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "PRIMARY_HOST": names.host(names.database_read_write),
    }
    return server.pod_spec(
        resource,
        names,
        container={"script": "serve-replica.sh", "environment": environment},
        prepare={
            "script": "prepare-replica.sh",
            "environment": {**environment, "REPLICATION_CREDENTIALS": server.REPLICATION_CREDENTIALS},
        },
        secrets={server.REPLICATION_CREDENTIALS: names.replication_credentials},
    )


def _spread(names: Names) -> dict[str, Any]:
    """Over the nodes, where there is room."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.selector(DATABASE_REPLICA)},
    }
