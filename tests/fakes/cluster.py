"""A stateful stand-in for the API server, for faults and orders of events that a real one cannot be made to show.

It keeps what decides whether the operator is right: uid, resourceVersion, generation, the status subresource,
server-side apply with field ownership, label selectors, deletion with ownerReferences and finalizers, and a log of
calls and of watch events. Any call can be made to fail, or the caller to crash, before or after the call took effect.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sibyl_operator.kube import (
    FIELD_MANAGER,
    STATUS_MANAGER,
    AlreadyExists,
    Conflict,
    Invalid,
    KubeError,
    Manifest,
    NotFound,
    kind_of,
)
from tests.fakes import server_side_apply as ssa
from tests.fakes.defaults import defaulted

T = TypeVar("T")
Ref = tuple[str, str, str]
Manager = tuple[str, str, str]
WITH_GENERATION = frozenset(
    {"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "SibylWorkspace", "StatefulSet"}
)
# What an update may change of the spec of a StatefulSet; anything else is refused.
CHANGEABLE = frozenset(
    {
        "minReadySeconds",
        "ordinals",
        "persistentVolumeClaimRetentionPolicy",
        "replicas",
        "revisionHistoryLimit",
        "template",
        "updateStrategy",
    }
)
WRITES = frozenset({"create", "delete", "patch", "update"})


class Crash(BaseException):
    """The process dies here; nothing but the test catches it."""


@dataclass(frozen=True)
class Call:
    """One request, in the words of RBAC."""

    verb: str
    kind: str
    namespace: str | None
    name: str | None = None
    subresource: str = ""
    manager: str = ""

    @property
    def writes(self) -> bool:
        """Whether it changes the cluster; Events are news about the cluster, not part of its state."""
        return self.verb in WRITES and self.kind != "Event"


@dataclass(frozen=True)
class Fault:
    """What happens to one call: an error or a crash, instead of it or after it took effect."""

    error: KubeError | Crash
    after: bool = False


@dataclass
class FakeCluster:
    """Implements `KubeApi`; the other public methods play the part of users and of the cluster itself."""

    calls: list[Call] = field(default_factory=list)
    watch_log: list[tuple[str, Manifest]] = field(default_factory=list)
    events: list[Manifest] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    deny: Callable[[Call], KubeError | None] = lambda _call: None
    _objects: dict[Ref, Manifest] = field(default_factory=dict)
    _managers: dict[Ref, dict[Manager, ssa.Fields]] = field(default_factory=lambda: defaultdict(dict))
    _visible: dict[Ref, Manifest] = field(default_factory=dict)
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(100))
    _uids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # The port.

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return self._call(Call("get", kind, namespace, name), lambda: self.peek(kind, namespace, name))

    async def list(
        self, kind: str, namespace: str | None, *, labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        def found() -> list[Manifest]:
            refs = [ref for ref in self._objects if ref[0] == kind and namespace in (None, ref[1])]
            return [self._shown(ref) for ref in refs if selects(labels, self._objects[ref])]

        return self._call(Call("list", kind, namespace), found)

    async def apply(self, manifest: Manifest, *, field_manager: str = FIELD_MANAGER, force: bool = True) -> Manifest:
        ref = _ref(manifest)
        call = Call("patch", *ref, manager=field_manager)
        return self._call(call, lambda: self._apply(ref, manifest, (field_manager, "Apply", ""), force))

    async def create(self, manifest: Manifest) -> Manifest:
        ref = _ref(manifest)

        def create() -> Manifest:
            if ref in self._objects:
                raise AlreadyExists(409, f"{ref[0]} {ref[2]!r} already exists")
            return self._update(ref, manifest, FIELD_MANAGER)

        return self._call(Call("create", ref[0], ref[1], ref[2]), create)

    async def replace(self, manifest: Manifest) -> Manifest:
        ref = _ref(manifest)

        def replace() -> Manifest:
            live = self._existing(ref)
            if manifest["metadata"].get("resourceVersion") != live["metadata"]["resourceVersion"]:
                raise Conflict(409, f"{ref[0]} {ref[2]!r}: the object has been modified")
            return self._update(ref, manifest, FIELD_MANAGER)

        return self._call(Call("update", *ref), replace)

    async def patch_status(self, kind: str, namespace: str, name: str, status: Manifest) -> Manifest:
        ref = (kind, namespace, name)

        def patch() -> Manifest:
            self._existing(ref)
            return self._apply(ref, {"status": status}, (STATUS_MANAGER, "Apply", "status"), True)

        return self._call(Call("patch", *ref, subresource="status", manager=STATUS_MANAGER), patch)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        def delete() -> None:
            live = self._objects.get((kind, namespace, name))
            if live is not None and live["metadata"]["uid"] != uid:
                raise Conflict(409, f"{kind} {name!r}: the uid is that of another object")
            self.remove(kind, namespace, name)

        self._call(Call("delete", kind, namespace, name), delete)

    async def create_event(self, involved: Manifest, *, type: str, reason: str, message: str) -> None:
        event = {"uid": involved["metadata"]["uid"], "type": type, "reason": reason, "message": message}
        self._call(Call("create", "Event", involved["metadata"]["namespace"]), lambda: self.events.append(event))

    # What a test sees.

    def peek(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object as it is, without leaving a trace."""
        ref = (kind, namespace, name)
        return self._shown(ref) if ref in self._objects else None

    def all(self, kind: str, namespace: str) -> tuple[Manifest, ...]:
        """All objects of a kind in a namespace, by name."""
        return tuple(self._shown(ref) for ref in sorted(self._objects) if ref[:2] == (kind, namespace))

    def everything(self, *kinds: str) -> dict[Ref, Manifest]:
        """All objects of the kinds, or all, reduced to what does not depend on history."""
        return {
            ref: {**_intent(live), "status": live.get("status", {})}
            for ref, live in sorted(self._objects.items())
            if not kinds or ref[0] in kinds
        }

    @property
    def writes(self) -> tuple[Call, ...]:
        """The calls so far that change the cluster."""
        return tuple(call for call in self.calls if call.writes)

    # What users and controllers do.

    def put(self, manifest: Manifest, *, manager: str = "kubectl") -> Manifest:
        """Create or replace an object as somebody else."""
        return self._update(_ref(manifest), manifest, manager)

    def edit(
        self, kind: str, namespace: str, name: str, change: Callable[[Manifest], None], *, manager: str = "kubectl"
    ) -> Manifest:
        """Change an object in place as somebody else; the change may reach the status too."""
        ref = (kind, namespace, name)
        edited = json_copy(self._existing(ref))
        change(edited)
        return self._update(ref, edited, manager)

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object; with finalizers it only gets its deletionTimestamp. What it owns goes with it."""
        ref = (kind, namespace, name)
        live = self._objects.get(ref)
        if live is None:
            return
        live["metadata"]["resourceVersion"] = str(next(self._versions))
        if live["metadata"].get("finalizers"):
            live["metadata"].setdefault("deletionTimestamp", "2030-01-01T00:00:00Z")
            self._show(ref)
            self.watch_log.append(("MODIFIED", self._shown(ref)))
            return
        self._show(ref)
        self.watch_log.append(("DELETED", self._shown(ref)))
        del self._objects[ref]
        self._managers.pop(ref, None)
        for child in [r for r, m in self._objects.items() if _owned(m, live["metadata"]["uid"])]:
            self.remove(*child)

    # Inside.

    def _call(self, call: Call, act: Callable[[], T]) -> T:
        self.calls.append(call)
        fault = self.faults.get(len(self.calls) - 1)
        refused = self.deny(call)
        if refused is not None:
            raise refused
        if fault is not None and not fault.after:
            raise fault.error
        result = act()
        if fault is not None:
            raise fault.error
        return result

    def _existing(self, ref: Ref) -> Manifest:
        if ref not in self._objects:
            raise NotFound(404, f"{ref[0]} {ref[2]!r} not found")
        return self._objects[ref]

    def _apply(self, ref: Ref, manifest: Manifest, manager: Manager, force: bool) -> Manifest:
        live = self._objects.get(ref)
        self._check_preconditions(ref, manifest, live)
        wanted = ssa.leaves(manifest)
        after = json_copy(live) if live is not None else _named(ref)
        managers = self._managers[ref]
        contested = {
            path: other
            for other, owned in managers.items()
            if other != manager
            for path in owned & wanted.keys()
            if ssa.read(after, path) != wanted[path]
        }
        if contested and not force:
            owners = sorted({other[0] for other in contested.values()})
            raise Conflict(409, f"{ref[0]} {ref[2]!r}: fields are owned by {owners}")
        others = {other: owned - contested.keys() for other, owned in managers.items() if other != manager}
        ssa.let_go(after, managers.get(manager, frozenset()) - wanted.keys(), frozenset().union(*others.values()))
        for path, leaf in wanted.items():
            ssa.write(after, path, leaf)
        ssa.arrange(after, manifest)
        return self._commit(ref, after, {**others, manager: frozenset(wanted)})

    def _check_preconditions(self, ref: Ref, manifest: Manifest, live: Manifest | None) -> None:
        for name in ("uid", "resourceVersion"):
            expected = manifest.get("metadata", {}).get(name)
            if expected is not None and (live is None or live["metadata"][name] != expected):
                raise Conflict(409, f"{ref[0]} {ref[2]!r}: {name} {expected} is not that of the object")

    def _update(self, ref: Ref, manifest: Manifest, name: str) -> Manifest:
        live = self._objects.get(ref)
        before = ssa.leaves(live) if live is not None else {}
        after = {**_named(ref), **json_copy(manifest)}
        identity = live["metadata"] if live is not None else {}
        kept = {k: identity[k] for k in ("uid", "resourceVersion", "generation", "deletionTimestamp") if k in identity}
        after["metadata"] = {**{k: v for k, v in after["metadata"].items() if k != "managedFields"}, **kept}
        now = ssa.leaves(after)
        changed = {path for path in now if path not in before or before[path] != now[path]}
        manager = (name, "Update", "")
        managers = {m: (owned & now.keys()) - changed for m, owned in self._managers[ref].items()}
        managers[manager] = frozenset(managers.get(manager, frozenset()) | changed)
        return self._commit(ref, after, managers)

    def _commit(self, ref: Ref, after: Manifest, managers: dict[Manager, ssa.Fields]) -> Manifest:
        live = self._objects.get(ref)
        after = defaulted(after)
        _check_immutable(live, after)
        managers = {manager: owned for manager, owned in managers.items() if owned}
        if live is not None and live == after and self._managers[ref] == managers:
            return self._shown(ref)
        metadata = after["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._uids)}")
        if ref[0] in WITH_GENERATION:
            same = live is not None and live.get("spec") == after.get("spec")
            metadata["generation"] = metadata.get("generation", 0) + (0 if same else 1)
        metadata["resourceVersion"] = str(next(self._versions))
        self._objects[ref] = after
        self._managers[ref] = managers
        self._show(ref)
        self.watch_log.append(("ADDED" if live is None else "MODIFIED", self._shown(ref)))
        return self._shown(ref)

    def _show(self, ref: Ref) -> None:
        """Prepare what readers of an object get to see."""
        live = self._objects[ref]
        fields = _managed_fields(self._managers[ref])
        self._visible[ref] = {**live, "metadata": {**live["metadata"], "managedFields": fields}}

    def _shown(self, ref: Ref) -> Manifest:
        return json_copy(self._visible[ref])


def selects(labels: Mapping[str, str] | None, manifest: Manifest) -> bool:
    """Whether an object carries all of the labels."""
    carried = manifest["metadata"].get("labels") or {}
    return all(carried.get(name) == value for name, value in (labels or {}).items())


def json_copy(manifest: Manifest) -> Manifest:
    """A deep copy of what is JSON anyway, several times faster than the general one."""
    copied: Manifest = json.loads(json.dumps(manifest))
    return copied


def _managed_fields(managers: Mapping[Manager, ssa.Fields]) -> Sequence[Manifest]:
    return [
        {
            "manager": name,
            "operation": operation,
            "subresource": subresource,
            "fieldsType": "FieldsV1",
            "fieldsV1": ssa.fields_v1(owned),
        }
        for (name, operation, subresource), owned in managers.items()
    ]


def _ref(manifest: Manifest) -> Ref:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _named(ref: Ref) -> Manifest:
    return {
        "apiVersion": kind_of(ref[0]).api_version,
        "kind": ref[0],
        "metadata": {"namespace": ref[1], "name": ref[2]},
    }


def _intent(live: Manifest) -> Manifest:
    metadata = {k: v for k, v in live["metadata"].items() if k not in ("uid", "resourceVersion", "generation")}
    return {**live, "metadata": metadata}


def _owned(manifest: Manifest, uid: str) -> bool:
    return any(reference["uid"] == uid for reference in manifest["metadata"].get("ownerReferences", ()))


def _check_immutable(live: Manifest | None, after: Manifest) -> None:
    if live is None or live["kind"] not in ("Deployment", "StatefulSet"):
        return
    every = {*live["spec"], *after["spec"]}
    names = {"selector"} if live["kind"] == "Deployment" else every - CHANGEABLE
    for name in sorted(names):
        if live["spec"].get(name) != after["spec"].get(name):
            path, message = f"spec.{name}", "field is immutable"
            raise Invalid(422, f"{live['kind']} is invalid: {path}: {message}", causes=((path, message),))
