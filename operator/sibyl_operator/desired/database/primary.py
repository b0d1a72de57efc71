"""The primary of a Builtin database: one pod with a volume. It is not failed over; it starts again where it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.database import server
from sibyl_operator.desired.database.config_map import database_config_hash
from sibyl_operator.desired.names import CONFIG_HASH, DATABASE, SOURCES_HASH, Names
from sibyl_operator.desired.sources import digest_of
from sibyl_operator.observed import SourceFacts


def primary(resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]) -> dict[str, Any]:
    """The StatefulSet. Its volume outlives it, unless spec.deletionPolicy says Delete.

    Parallel, although there is one pod: a StatefulSet in order waits for ever for a pod that cannot start, and does not
    replace it by one that can.
    """
    read = (Source("Secret", names.database_credentials), Source("Secret", names.replication_credentials))
    annotations = {CONFIG_HASH: database_config_hash(resource), SOURCES_HASH: digest_of(read, sources)}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": names.metadata(names.database, component=DATABASE),
        "spec": {
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": resource.spec.deletion_policy,
                "whenScaled": "Retain",
            },
            "podManagementPolicy": "Parallel",
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": names.selector(DATABASE)},
            "serviceName": names.database_read_write,
            "template": {
                "metadata": {"labels": names.pod_labels(DATABASE), "annotations": annotations},
                "spec": server.pod_spec(
                    resource,
                    names,
                    container={"script": "serve.sh", "environment": {}},
                    prepare={
                        "script": "prepare-primary.sh",
                        "environment": {
                            "APP_CREDENTIALS": server.APP_CREDENTIALS,
                            "REPLICATION_CREDENTIALS": server.REPLICATION_CREDENTIALS,
                        },
                    },
                    secrets={
                        server.APP_CREDENTIALS: names.database_credentials,
                        server.REPLICATION_CREDENTIALS: names.replication_credentials,
                    },
                ),
            },
            "updateStrategy": {"type": "RollingUpdate"},
            "volumeClaimTemplates": server.volume_claims(resource, names.selector(DATABASE)),
        },
    }
