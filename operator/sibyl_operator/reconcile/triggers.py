"""From watch events to keys on the queue: the only thing an event may do, besides telling the cache what it carries."""

from __future__ import annotations

from typing import Any

from sibyl_operator.api.group import KIND
from sibyl_operator.kube import Manifest
from sibyl_operator.reconcile.cache import ChildCache
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.ownership import parent
from sibyl_operator.reconcile.queue import WorkQueue
from sibyl_operator.reconcile.telemetry import Telemetry


class Triggers:
    """Decides which events ask for a pass."""

    def __init__(self, queue: WorkQueue[Key], cache: ChildCache, telemetry: Telemetry) -> None:
        self._queue = queue
        self._cache = cache
        self._telemetry = telemetry
        self._seen: dict[Key, tuple[Any, ...]] = {}

    def event(self, event: str | None, manifest: Manifest) -> None:
        """Take one event of a workspace or of a child; `event` is None for an object of a list."""
        self._telemetry.watched(manifest["kind"])
        if manifest["kind"] == KIND:
            self._workspace(event, manifest)
        else:
            self._child(event, manifest)

    def _workspace(self, event: str | None, manifest: Manifest) -> None:
        key = Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if event == "DELETED":
            self._seen.pop(key, None)
            self._queue.add(key)
            return
        concern = _concern(manifest)
        # Our own writes of status come back as events and change nothing of this.
        if self._seen.get(key) != concern:
            self._seen[key] = concern
            self._queue.add(key)

    def _child(self, event: str | None, manifest: Manifest) -> None:
        key = parent(manifest)
        if key is not None and self._cache.observe(key, event, manifest):
            self._queue.add(key)


def _concern(manifest: Manifest) -> tuple[Any, ...]:
    """All of a workspace that a reconcile reads, except its status."""
    metadata = manifest["metadata"]
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("labels"),
        metadata.get("annotations"),
        metadata.get("deletionTimestamp"),
    )
