"""The effective document where the pods can read it."""

from __future__ import annotations

from typing import Any, Final

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.document import document_text
from sibyl_operator.desired.names import Names

DOCUMENT_KEY: Final = "workspace.yaml"


def config_map(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    """A ConfigMap of a stable name; the pods are replaced when its content changes, by the hash in their template."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(names.config),
        "data": {DOCUMENT_KEY: document_text(resource)},
    }
