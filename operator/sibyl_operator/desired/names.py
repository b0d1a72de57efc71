"""Names, labels and selectors of everything that belongs to a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sibyl_operator import __version__
from sibyl_operator.api import group
from sibyl_operator.api.labels import LONGEST_STATEFUL_SET
from sibyl_operator.api.labels import child_name as child_name
from sibyl_operator.api.labels import label_value as label_value

WORKSPACE_LABEL: Final = f"{group.GROUP}/workspace"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
CONFIG_HASH: Final = f"{group.GROUP}/config-hash"
# Of Secrets and ConfigMaps: the annotation is called as it was when there were only Secrets, since another name would
# restart all pods.
SOURCES_HASH: Final = f"{group.GROUP}/secrets-hash"
MANAGED_BY: Final = "sibyl-operator"

# What a workspace is made of: the value of the component label, and the program that runs in its pods.
RUNTIME: Final = "runtime"
DATABASE: Final = "database"
DATABASE_REPLICA: Final = "database-replica"
CACHE: Final = "cache"
PROGRAMS: Final[Mapping[str, str]] = {
    RUNTIME: "sibyl-runtime",
    DATABASE: "postgresql",
    DATABASE_REPLICA: "postgresql",
    CACHE: "redis",
}


@dataclass(frozen=True)
class Names:
    """What the children of one workspace are called and how they are found."""

    namespace: str
    workspace: str
    uid: str

    @property
    def runtime(self) -> str:
        """Deployment, Service, autoscaler, disruption budget and service account of the runtime."""
        return child_name(self.workspace, "runtime")

    @property
    def config(self) -> str:
        """The ConfigMap with the effective document."""
        return child_name(self.workspace, "config")

    @property
    def database(self) -> str:
        """StatefulSet and ConfigMap of the primary."""
        return child_name(self.workspace, "db", longest=LONGEST_STATEFUL_SET)

    @property
    def database_read_write(self) -> str:
        """The Service over the primary."""
        return child_name(self.workspace, "db-rw")

    @property
    def database_read_only(self) -> str:
        """The Service over the read replicas."""
        return child_name(self.workspace, "db-ro")

    @property
    def database_replica(self) -> str:
        """StatefulSet of the read replicas, and the headless Service that gives each of them a name."""
        return child_name(self.workspace, "db-replica", longest=LONGEST_STATEFUL_SET)

    @property
    def database_credentials(self) -> str:
        """The Secret with the password of the role that the runtime connects as."""
        return child_name(self.workspace, "db-app")

    @property
    def replication_credentials(self) -> str:
        """The Secret with the password of the role that the read replicas stream as."""
        return child_name(self.workspace, "db-replication")

    @property
    def cache(self) -> str:
        """Deployment, Service, Secret and ConfigMap of the cache."""
        return child_name(self.workspace, "cache")

    def host(self, service: str) -> str:
        """The name by which a Service is found from every namespace of the cluster."""
        return f"{service}.{self.namespace}.svc"

    def selector(self, component: str = RUNTIME) -> dict[str, str]:
        """What finds a component's pods; for ever the same, because a Deployment's selector cannot be changed."""
        return {
            COMPONENT_LABEL: component,
            "app.kubernetes.io/instance": label_value(self.workspace),
            "app.kubernetes.io/name": PROGRAMS[component],
        }

    def members(self) -> dict[str, str]:
        """What finds everything that belongs to the workspace."""
        return {"app.kubernetes.io/managed-by": MANAGED_BY, WORKSPACE_LABEL: label_value(self.workspace)}

    def pod_labels(self, component: str = RUNTIME) -> dict[str, str]:
        """Labels of the pods: without a version, so that a new operator alone does not restart them."""
        return {**self.selector(component), "app.kubernetes.io/part-of": "sibyl", **self.members()}

    def metadata(
        self, name: str, annotations: dict[str, str] | None = None, *, component: str = RUNTIME
    ) -> dict[str, Any]:
        """Metadata of a child: owned by the workspace, so that it goes when the workspace goes."""
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": {**self.pod_labels(component), "app.kubernetes.io/version": __version__},
            "ownerReferences": [self.owner_reference()],
        }
        return {**metadata, "annotations": annotations} if annotations else metadata

    def owner_reference(self) -> dict[str, Any]:
        """The controller reference to the workspace."""
        return {
            "apiVersion": group.API_VERSION,
            "kind": group.KIND,
            "name": self.workspace,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
