"""Field ownership as the API server keeps it, over plain dicts: leaves, merge by key, removal of dropped fields.

A path is a tuple of steps: a map key as text, an item of a keyed list as a tuple of its key fields. `ITEM` at the end
of a path stands for the item itself, so that an item goes when its last owner lets go of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

KeyStep = tuple[tuple[str, Any], ...]
Step = str | KeyStep
Path = tuple[Step, ...]
Fields = frozenset[Path]

ITEM = "."
MISSING = object()
DEFAULT_PARTS = {"protocol": "TCP"}
KEYED_LISTS: Mapping[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
NOT_OWNED = {
    ("apiVersion",),
    ("kind",),
    *(
        ("metadata", name)
        for name in (
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "name",
            "namespace",
            "resourceVersion",
            "uid",
        )
    ),
}


def leaves(value: Mapping[str, Any]) -> dict[Path, Any]:
    """Every owned field of an object with its value."""
    return {path: leaf for path, leaf in _leaves(value, ()) if path not in NOT_OWNED}


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    keys = KEYED_LISTS.get(str(path[-1])) if path and isinstance(path[-1], str) else None
    if isinstance(value, Mapping) and value:
        for name, child in value.items():
            yield from _leaves(child, (*path, name))
    elif isinstance(value, list) and keys and all(isinstance(item, Mapping) for item in value):
        for item in value:
            step = item_key(item, keys)
            yield (*path, step, ITEM), None
            yield from _leaves(item, (*path, step))
    else:
        yield path, value


def item_key(item: Mapping[str, Any], keys: tuple[str, ...]) -> KeyStep:
    """The step that names an item of a keyed list."""
    return tuple((key, item.get(key, DEFAULT_PARTS.get(key))) for key in keys if key in item or key in DEFAULT_PARTS)


def read(value: Any, path: Path) -> Any:
    """The value at a path, or MISSING."""
    for step in path:
        if step == ITEM:
            return None
        if isinstance(step, str):
            if not isinstance(value, Mapping) or step not in value:
                return MISSING
            value = value[step]
        else:
            value = next((item for item in value if _matches(item, step)), MISSING)
            if value is MISSING:
                return MISSING
    return value


def write(value: dict[str, Any], path: Path, leaf: Any) -> None:
    """Set the value at a path, making maps and list items on the way."""
    target: Any = value
    for step, following in zip(path, (*path[1:], None), strict=True):
        if following is None:
            if step != ITEM:
                target[step] = copy.deepcopy(leaf)
        elif isinstance(step, str):
            fresh: Any = [] if isinstance(following, tuple) else {}
            if not isinstance(target.get(step), type(fresh)):
                target[step] = fresh
            target = target[step]
        else:
            item = next((item for item in target if _matches(item, step)), None)
            if item is None:
                item = {name: part for name, part in step if part is not None}
                target.append(item)
            target = item


def arrange(value: Any, applied: Any, name: str = "") -> None:
    """Bring keyed lists into the order in which they were applied; items of others stay before what followed them."""
    if isinstance(applied, Mapping):
        for key, below in applied.items():
            if key in value:
                arrange(value[key], below, key)
        return
    keys = KEYED_LISTS.get(name)
    if not isinstance(applied, list) or not keys or not all(isinstance(item, Mapping) for item in applied):
        return
    held = {item_key(item, keys): item for item in value}
    wanted = [item_key(item, keys) for item in applied]
    for step, item in zip(wanted, applied, strict=True):
        arrange(held[step], item)
    others = [step for step in held if step not in wanted]
    order: list[KeyStep] = []
    places = {step: place for place, step in enumerate(held)}
    for step in wanted:
        order += [other for other in others if other not in order and places[other] < places[step]]
        order.append(step)
    value[:] = [held[step] for step in [*order, *(other for other in others if other not in order)]]


def remove(value: dict[str, Any], path: Path) -> None:
    """Delete the value at a path, and the maps and lists that are empty because of it."""
    parents: list[tuple[Any, Step]] = []
    target: Any = value
    path = path[:-1] if path[-1] == ITEM else path
    for step in path:
        parents.append((target, step))
        target = read(target, (step,))
        if target is MISSING:
            return
    for parent, step in reversed(parents):
        if isinstance(step, str):
            del parent[step]
        else:
            parent[:] = [item for item in parent if not _matches(item, step)]
        if parent:
            return


def let_go(value: dict[str, Any], dropped: Fields, kept: Fields) -> None:
    """Remove fields that their owner no longer applies, unless somebody else owns them."""
    # Items last: their fields are gone by then, and an item that another owner holds a field of stays.
    for path in sorted(dropped - kept, key=lambda path: (path[-1] == ITEM, repr(path))):
        if path[-1] == ITEM:
            if not any(owned[: len(path) - 1] == path[:-1] for owned in kept):
                remove(value, path)
        elif not _is_key_field(path):
            remove(value, path)


def fields_v1(paths: Fields) -> dict[str, Any]:
    """The paths as the API server shows them in managedFields."""
    shown: dict[str, Any] = {}
    for path in sorted(paths, key=repr):
        node = shown
        for step in path:
            if step == ITEM:
                node.setdefault(".", {})
            elif isinstance(step, str):
                node = node.setdefault(f"f:{step}", {})
            else:
                node = node.setdefault(f"k:{dict(step)}", {})
    return shown


def _is_key_field(path: Path) -> bool:
    """A field that names its list item, and goes only with it."""
    return len(path) > 1 and isinstance(path[-2], tuple) and path[-1] in dict(path[-2])


def _matches(item: Mapping[str, Any], step: KeyStep) -> bool:
    return all(item.get(name, DEFAULT_PARTS.get(name)) == part for name, part in step)
