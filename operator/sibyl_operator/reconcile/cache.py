"""What is known of the children of each workspace, so that a pass at steady state reads almost nothing.

A workspace is filled from a list once, then kept current by watch events and by the answers to our own writes. The
newest resourceVersion wins, whatever the order in which they come in. Bodies are kept without their managedFields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sibyl_operator.kube import Manifest
from sibyl_operator.reconcile.fingerprint import concern
from sibyl_operator.reconcile.key import Key

ChildId = tuple[str, str]
"""Kind and name of a child; its namespace is that of the workspace."""


def child_id(manifest: Mapping[str, Any]) -> ChildId:
    """The identity of a child inside its workspace's namespace."""
    return manifest["kind"], manifest["metadata"]["name"]


@dataclass
class _Entry:
    children: dict[ChildId, Manifest] = field(default_factory=dict)
    removed: dict[ChildId, int] = field(default_factory=dict)
    settled: dict[ChildId, tuple[str, str]] = field(default_factory=dict)
    listed: bool = False


class ChildCache:
    """Live children by workspace, for one event loop."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> frozenset[Key]:
        """The workspaces that something is known of."""
        return frozenset(self._entries)

    def is_listed(self, key: Key) -> bool:
        """Whether the children were listed since the start or the last `expire`."""
        return key in self._entries and self._entries[key].listed

    def expire(self, key: Key) -> None:
        """Have the children listed anew at the next pass, in case a watch event was lost."""
        if key in self._entries:
            self._entries[key].listed = False

    def begin(self, key: Key) -> None:
        """Start to record events of a workspace; to be called before its children are listed."""
        self._entries.setdefault(key, _Entry())

    def fill(self, key: Key, kind: str, found: Iterable[Manifest]) -> None:
        """Take a fresh list of one kind: what it does not hold is gone."""
        manifests = {child_id(manifest): manifest for manifest in found}
        entry = self._entries.setdefault(key, _Entry())
        for identity in [identity for identity in entry.children if identity[0] == kind and identity not in manifests]:
            del entry.children[identity]
        for manifest in manifests.values():
            _keep(entry, manifest)

    def listing_complete(self, key: Key) -> None:
        """All kinds of the workspace were filled."""
        self._entries[key].listed = True

    def store(self, key: Key, manifest: Manifest) -> None:
        """Remember the answer to a read or a write of our own."""
        _keep(self._entries.setdefault(key, _Entry()), manifest)

    def observe(self, key: Key, event: str | None, manifest: Manifest) -> bool:
        """Take a watch event; True when a reconcile might decide otherwise because of it.

        `event` is None for an object of a list, which the watcher also makes when it had to start over. What no pass
        has begun on yet is not kept: its first pass lists everything, and the list of workspaces asks for that pass.
        """
        entry = self._entries.get(key)
        if entry is None:
            return event is not None
        identity = child_id(manifest)
        before = entry.children.get(identity)
        if event == "DELETED":
            return _remove(entry, identity, _version(manifest))
        if not _keep(entry, manifest):
            return False
        return before is None or concern(before) != concern(manifest)

    def drop(self, key: Key, identity: ChildId) -> None:
        """Forget what is believed of one child, so that the next pass reads it."""
        if key in self._entries:
            self._entries[key].children.pop(identity, None)

    def deleted(self, key: Key, identity: ChildId) -> None:
        """One child was deleted by us; events from before do not bring it back."""
        entry = self._entries.get(key)
        if entry is not None and identity in entry.children:
            _remove(entry, identity, _version(entry.children[identity]))

    def children(self, key: Key) -> dict[ChildId, Manifest]:
        """A copy of what is known; the manifests themselves are not to be changed."""
        return dict(self._entries[key].children) if key in self._entries else {}

    def settled(self, key: Key, identity: ChildId) -> tuple[str, str] | None:
        """What `settle` remembered of the last write of a child."""
        return self._entries[key].settled.get(identity) if key in self._entries else None

    def settle(self, key: Key, identity: ChildId, applied: str, result: str) -> None:
        """Remember that writing the manifest with hash `applied` gave an object with the fingerprint `result`."""
        self._entries.setdefault(key, _Entry()).settled[identity] = (applied, result)

    def forget(self, key: Key) -> None:
        """The workspace is gone."""
        self._entries.pop(key, None)


def _keep(entry: _Entry, manifest: Manifest) -> bool:
    """Store unless something newer is known; True when stored."""
    identity, version = child_id(manifest), _version(manifest)
    before = entry.children.get(identity)
    if version <= entry.removed.get(identity, -1) or (before is not None and version <= _version(before)):
        return False
    entry.children[identity] = _without_managed_fields(manifest)
    entry.removed.pop(identity, None)
    return True


def _remove(entry: _Entry, identity: ChildId, version: int) -> bool:
    before = entry.children.get(identity)
    if before is not None and _version(before) > version:
        return False
    # The tombstone keeps a list or an event from before the deletion from bringing the object back.
    entry.removed[identity] = max(version, entry.removed.get(identity, -1))
    entry.settled.pop(identity, None)
    return entry.children.pop(identity, None) is not None


def _version(manifest: Mapping[str, Any]) -> int:
    """The resourceVersion as a number: comparable within one kind, as Kubernetes documents since 1.35."""
    return int(manifest["metadata"]["resourceVersion"])


def _without_managed_fields(manifest: Manifest) -> Manifest:
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
    return {**manifest, "metadata": metadata}
