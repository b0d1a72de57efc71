"""Writes the children of a workspace: applies what differs, refuses what is foreign, prunes what is no longer desired.

At steady state nothing is written, also right after a restart: a child carries the hash of the manifest that was
applied (so a field that we stopped sending is noticed), and every field we would send is compared with the live object.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sibyl_operator.api.group import GROUP
from sibyl_operator.desired.names import MANAGED_BY, WORKSPACE_LABEL, label_value
from sibyl_operator.kube import HANDOVER_MANAGER, KubeApi, KubeError, Manifest
from sibyl_operator.observed import ApplyError, Conflict
from sibyl_operator.reconcile.cache import ChildCache, ChildId, child_id
from sibyl_operator.reconcile.difference import difference
from sibyl_operator.reconcile.fingerprint import digest, intent
from sibyl_operator.reconcile.handover import handover, lets_go_of_replicas
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.ownership import owned_by, refusal
from sibyl_operator.reconcile.telemetry import Telemetry

logger = logging.getLogger(__name__)

APPLIED_HASH = f"{GROUP}/applied-hash"
CHILD_KINDS = (
    "ServiceAccount",
    "ConfigMap",
    "NetworkPolicy",
    "StatefulSet",
    "Deployment",
    "Service",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
)
# Pods must not start on a configuration that was not written; nothing else holds anything up.
REQUIRED_FIRST = frozenset({"ServiceAccount", "ConfigMap"})


@dataclass(frozen=True)
class Written:
    """What could not be written, and why; empty when every child is as desired."""

    conflicts: tuple[Conflict, ...] = ()
    errors: tuple[ApplyError, ...] = ()

    def __add__(self, other: Written) -> Written:
        return Written(self.conflicts + other.conflicts, self.errors + other.errors)

    def __bool__(self) -> bool:
        return bool(self.conflicts or self.errors)


class Children:
    """Brings the children of workspaces to their desired manifests, one workspace at a time."""

    def __init__(self, api: KubeApi, cache: ChildCache, telemetry: Telemetry) -> None:
        self._api = api
        self._cache = cache
        self._telemetry = telemetry

    async def read(self, key: Key) -> None:
        """List the children unless the cache is current already."""
        if self._cache.is_listed(key):
            return
        self._cache.begin(key)
        for kind in CHILD_KINDS:
            await self._list(key, kind)
        self._cache.listing_complete(key)

    async def apply(self, key: Key, uid: str, manifests: Sequence[Manifest]) -> Written:
        """Write what differs, in the order given. A failure is collected and the others go on.

        Only when a child is missing that pods need to start, the rest is left alone for this pass.
        """
        required = [manifest for manifest in manifests if manifest["kind"] in REQUIRED_FIRST]
        others = [manifest for manifest in manifests if manifest["kind"] not in REQUIRED_FIRST]
        written = await self._apply_all(key, uid, required)
        return written if written else await self._apply_all(key, uid, others)

    def unapplied(self, key: Key, uid: str, manifests: Sequence[Manifest]) -> tuple[str, ...]:
        """The children that `apply` and `prune` would change, each as `Kind name`."""
        children = self._cache.children(key)
        found = []
        for manifest in manifests:
            live = children.get(child_id(manifest))
            if live is None or self._reason(key, stamped(manifest), live) is not None:
                found.append(child_id(manifest))
        found += self._surplus(key, uid, {child_id(manifest) for manifest in manifests})
        return tuple(f"{kind} {name}" for kind, name in found)

    async def prune(self, key: Key, uid: str, manifests: Iterable[Manifest]) -> Written:
        """Delete our children that are no longer desired, each confirmed by a fresh list."""
        desired = {child_id(manifest) for manifest in manifests}
        written = Written()
        for kind in sorted({identity[0] for identity in self._surplus(key, uid, desired)}):
            try:
                await self._list(key, kind)
            except KubeError as error:
                written += self._failed(kind, "list before pruning", error)
                continue
            for identity in self._surplus(key, uid, desired):
                if identity[0] == kind:
                    written += await self._delete(key, identity)
        return written

    async def _list(self, key: Key, kind: str) -> None:
        labels = {"app.kubernetes.io/managed-by": MANAGED_BY, WORKSPACE_LABEL: label_value(key.name)}
        self._cache.fill(key, kind, await self._api.list(kind, key.namespace, labels=labels))

    def _surplus(self, key: Key, uid: str, desired: set[ChildId]) -> list[ChildId]:
        return [
            identity
            for identity, live in self._cache.children(key).items()
            if identity not in desired and owned_by(live, uid) and "deletionTimestamp" not in live["metadata"]
        ]

    async def _delete(self, key: Key, identity: ChildId) -> Written:
        kind, name = identity
        live = self._cache.children(key)[identity]
        try:
            await self._api.delete(kind, key.namespace, name, uid=live["metadata"]["uid"])
        except KubeError as error:
            return self._failed(kind, "delete", error)
        self._cache.deleted(key, identity)
        self._telemetry.applied(kind, "deleted")
        logger.info("deleted %s %s: no longer desired", kind, name, extra={"workspace": str(key)})
        return Written()

    async def _apply_all(self, key: Key, uid: str, manifests: Iterable[Manifest]) -> Written:
        written = Written()
        for manifest in manifests:
            try:
                written += await self._apply(key, uid, manifest)
            except KubeError as error:
                # What we believed of this child may be the reason: read it anew in the next pass.
                self._cache.drop(key, child_id(manifest))
                written += self._failed(manifest["kind"], "apply", error)
        return written

    async def _apply(self, key: Key, uid: str, desired: Manifest) -> Written:
        identity = kind, name = child_id(desired)
        live = await self._live(key, uid, identity)
        if live is not None and not owned_by(live, uid):
            self._telemetry.applied(kind, "refused")
            return Written(conflicts=(Conflict(kind, name, refusal(live)),))
        if live is not None and "deletionTimestamp" in live["metadata"]:
            message = f"{kind} {name} is being deleted; it is made anew once it is gone"
            return Written(errors=(ApplyError(kind, message, transient=True),))
        manifest = stamped(desired)
        if live is None:
            await self._write(key, manifest, None, "it is missing")
        elif (reason := self._reason(key, manifest, live)) is not None:
            await self._write(key, manifest, live, reason)
        return Written()

    async def _live(self, key: Key, uid: str, identity: ChildId) -> Manifest | None:
        """The child as known, or as the API server has it.

        What is not ours is asked for each time: no watch tells when it goes.
        """
        known = self._cache.children(key).get(identity)
        if known is not None and owned_by(known, uid):
            return known
        found = await self._api.get(identity[0], key.namespace, identity[1])
        if found is not None and owned_by(found, uid):
            self._cache.store(key, found)
        return found

    def _reason(self, key: Key, manifest: Manifest, live: Manifest) -> str | None:
        """Why the child has to be written, or None."""
        differs = difference(manifest, live)
        if differs is None:
            return None
        if self._cache.settled(key, child_id(manifest)) == (_applied_hash(manifest), intent(live)):
            # The API server wrote it down in its own words; writing it again would change nothing.
            return None
        return f"{differs} differs"

    async def _write(self, key: Key, manifest: Manifest, live: Manifest | None, reason: str) -> None:
        kind, name = child_id(manifest)
        if live is not None:
            if lets_go_of_replicas(manifest):
                await self._hand_over(manifest, live["metadata"]["uid"])
            # A precondition: never write to another object that took the name meanwhile.
            manifest = {**manifest, "metadata": {**manifest["metadata"], "uid": live["metadata"]["uid"]}}
        # Without force on creation, an object that appeared since we looked is contested, not overwritten.
        result = await self._api.apply(manifest, force=live is not None)
        self._cache.store(key, result)
        self._cache.settle(key, child_id(manifest), _applied_hash(manifest), intent(result))
        self._telemetry.applied(kind, "created" if live is None else "updated")
        logger.info("applied %s %s: %s", kind, name, reason, extra={"workspace": str(key)})

    async def _hand_over(self, manifest: Manifest, uid: str) -> None:
        metadata = manifest["metadata"]
        live = await self._api.get(manifest["kind"], metadata["namespace"], metadata["name"])
        first = handover(manifest, live) if live is not None and live["metadata"]["uid"] == uid else None
        if first is not None:
            await self._api.apply(first, field_manager=HANDOVER_MANAGER)

    def _failed(self, kind: str, action: str, error: KubeError) -> Written:
        self._telemetry.applied(kind, "failed")
        return Written(errors=(ApplyError(kind, f"{action}: {error.message}", error.transient),))


def stamped(manifest: Manifest) -> Manifest:
    """The manifest with the hash of itself as an annotation."""
    metadata = manifest["metadata"]
    annotations: dict[str, Any] = {**(metadata.get("annotations") or {}), APPLIED_HASH: digest(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def _applied_hash(manifest: Manifest) -> str:
    return str(manifest["metadata"]["annotations"][APPLIED_HASH])
