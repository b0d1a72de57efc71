"""What every pod of a workspace pulls its images with."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.resource import WorkspaceResource


def pull_secrets(resource: WorkspaceResource) -> dict[str, Any]:
    """The entry of a pod's spec; nothing when no Secret is named."""
    named = resource.spec.image_pull_secrets
    return {"imagePullSecrets": [{"name": secret.name} for secret in named]} if named else {}
