"""The port to the Kubernetes API: what the operator may ask of it, and nothing more.

Objects are plain dicts as the API server sends them. Every method raises a `KubeError` when the answer is not a
success; only `get` turns "not found" into None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Manifest = dict[str, Any]

FIELD_MANAGER = "sibyl-operator"
STATUS_MANAGER = "sibyl-operator-status"
HANDOVER_MANAGER = "sibyl-operator-handover"


class KubeApi(Protocol):
    """The calls of the operator; kinds are names of `kube.kinds.KINDS`."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object, or None when there is none of that name."""
        ...

    async def list(
        self, kind: str, namespace: str | None, *, labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """All objects of a namespace (of all when None) that carry the labels; each with kind and version."""
        ...

    async def apply(self, manifest: Manifest, *, field_manager: str = FIELD_MANAGER, force: bool = True) -> Manifest:
        """Server-side apply: create or merge by field ownership.

        `force` takes fields from other managers; without it a contested field is a `Conflict`. A `metadata.uid` in the
        manifest is a precondition: another object under that name, or none, is a `Conflict` too.
        """
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """POST a new object; `AlreadyExists` when the name is taken."""
        ...

    async def replace(self, manifest: Manifest) -> Manifest:
        """PUT a whole object; `Conflict` unless `metadata.resourceVersion` is the current one."""
        ...

    async def patch_status(self, kind: str, namespace: str, name: str, status: Manifest) -> Manifest:
        """Server-side apply of the status subresource; `NotFound` when the object is gone."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with that uid; one already gone is success, a different one a `Conflict`."""
        ...

    async def create_event(self, involved: Manifest, *, type: str, reason: str, message: str) -> None:
        """Post an Event about an object; `type` is Normal or Warning."""
        ...
