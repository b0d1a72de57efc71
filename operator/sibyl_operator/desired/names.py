"""Names, labels and selectors of everything that belongs to a workspace.

A workspace may be named anything the API allows: up to 253 characters, with dots, a digit first. A Service may not: 63
characters, no dot, a letter first. So a name that does not fit is shortened, and a hash of the whole keeps it unique.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sibyl_operator import __version__
from sibyl_operator.api import group
from sibyl_operator.api.labels import HASH_LENGTH, LONGEST, short_hash
from sibyl_operator.api.labels import label_value as label_value

WORKSPACE_LABEL: Final = f"{group.GROUP}/workspace"
CONFIG_HASH: Final = f"{group.GROUP}/config-hash"
SECRETS_HASH: Final = f"{group.GROUP}/secrets-hash"
MANAGED_BY: Final = "sibyl-operator"
RUNTIME: Final = "runtime"
CONFIG: Final = "config"

_SERVICE_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")


def child_name(workspace: str, component: str) -> str:
    """`<workspace>-<component>`, valid as the name of every kind of child; at most 63 characters."""
    suffix = f"-{component}"
    if len(workspace) + len(suffix) <= LONGEST and _SERVICE_NAME.match(workspace):
        return f"{workspace}{suffix}"
    room = LONGEST - len(suffix) - HASH_LENGTH - 1
    readable = workspace.replace(".", "-")
    if not readable[0].isalpha():
        readable = f"w-{readable}"
    return f"{readable[:room].rstrip('-')}-{short_hash(workspace)}{suffix}"


@dataclass(frozen=True)
class Names:
    """What the children of one workspace are called and how they are found."""

    namespace: str
    workspace: str
    uid: str

    @property
    def runtime(self) -> str:
        """Deployment, Service, autoscaler, disruption budget and service account of the runtime."""
        return child_name(self.workspace, RUNTIME)

    @property
    def config(self) -> str:
        """The ConfigMap with the effective document."""
        return child_name(self.workspace, CONFIG)

    def selector(self) -> dict[str, str]:
        """What finds the runtime's pods; for ever the same, because a Deployment's selector cannot be changed."""
        return {
            "app.kubernetes.io/component": RUNTIME,
            "app.kubernetes.io/instance": label_value(self.workspace),
            "app.kubernetes.io/name": "sibyl-runtime",
        }

    def pod_labels(self) -> dict[str, str]:
        """Labels of the pods: without a version, so that a new operator alone does not restart them."""
        return {
            **self.selector(),
            "app.kubernetes.io/managed-by": MANAGED_BY,
            "app.kubernetes.io/part-of": "sibyl",
            WORKSPACE_LABEL: label_value(self.workspace),
        }

    def metadata(self, name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
        """Metadata of a child: owned by the workspace, so that it goes when the workspace goes."""
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": {**self.pod_labels(), "app.kubernetes.io/version": __version__},
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
