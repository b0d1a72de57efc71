"""Does a live object already hold everything that we want of it? Answered without asking the API server.

The live object has more fields than ours: defaults, and fields of other writers. Only fields that we would send count.
Lists that server-side apply merges by key are matched by that key; the others must agree item by item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_operator.api.quantity import amount

MERGE_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
KEY_DEFAULTS = {"protocol": "TCP"}
QUANTITIES = frozenset({"limits", "requests"})
QUANTITY_FIELDS = frozenset({"averageValue", "sizeLimit"})
# An empty value of these says something; any other empty map or list says nothing, and the server drops it.
MEANINGFUL_WHEN_EMPTY = frozenset({"emptyDir", "namespaceSelector", "podSelector"})
# Fields without a pointer in the API's types: the server drops their zero value.
DROPPED_WHEN_ZERO = frozenset(
    {
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "initialDelaySeconds",
        "minReadySeconds",
        "publishNotReadyAddresses",
        "readOnly",
        "value",
    }
)
# A NetworkPolicy's lists are replaced whole, also its `ports`: what somebody added to them would otherwise stay.
ATOMIC = ("spec.egress", "spec.ingress")
# Selectors are replaced whole too: with one more label a Service finds no pod.
ATOMIC_MAPS = frozenset({"matchLabels", "nodeSelector", "selector"})
# A variable refers to those before it.
ORDERED = frozenset({"env"})
IDENTITY = ("apiVersion", "kind")


def difference(desired: Mapping[str, Any], live: Mapping[str, Any]) -> str | None:
    """The path of the first desired field that the live object lacks or holds differently; None when it holds all.

    Never a value: the path goes to the log.
    """
    return _of_map({k: v for k, v in desired.items() if k not in IDENTITY}, live, "")


def _of_map(desired: Mapping[str, Any], live: Mapping[str, Any], path: str) -> str | None:
    for name, wanted in desired.items():
        where = f"{path}.{name}" if path else name
        found = _of_value(wanted, live.get(name), name, where)
        if found is not None:
            return found
    return None


def _of_value(wanted: Any, found: Any, name: str, path: str) -> str | None:
    if found is None:
        return None if _says_nothing(wanted, name) else path
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return path
        if name in ATOMIC_MAPS and set(found) != set(wanted):
            return path
        if name in QUANTITIES:
            return None if _equal_quantities(wanted, found) else path
        return _of_map(wanted, found, path)
    if isinstance(wanted, list | tuple):
        return _of_list(wanted, found, name, path) if isinstance(found, list | tuple) else path
    if name in QUANTITY_FIELDS:
        return None if _same_amount(wanted, found) else path
    return None if wanted == found else path


def _of_list(wanted: Sequence[Any], found: Sequence[Any], name: str, path: str) -> str | None:
    keys = None if path.startswith(ATOMIC) else MERGE_KEYS.get(name)
    if keys is None or not all(isinstance(item, Mapping) for item in (*wanted, *found)):
        if len(wanted) != len(found):
            return path
        pairs = [(f"{path}[{n}]", *pair) for n, pair in enumerate(zip(wanted, found, strict=True))]
    else:
        by_key = {_merge_key(item, keys): item for item in found}
        if name in ORDERED and not _in_order([_merge_key(item, keys) for item in wanted], list(by_key)):
            return path
        pairs = [(f"{path}[{n}]", item, by_key.get(_merge_key(item, keys))) for n, item in enumerate(wanted)]
    return next((at for where, a, b in pairs if (at := _of_value(a, b, "", where)) is not None), None)


def _in_order(wanted: Sequence[tuple[Any, ...]], found: Sequence[tuple[Any, ...]]) -> bool:
    """Whether those that both have come in the same order in both."""
    return [key for key in wanted if key in found] == [key for key in found if key in wanted]


def _merge_key(item: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key, KEY_DEFAULTS.get(key)) for key in keys)


def _says_nothing(wanted: Any, name: str) -> bool:
    if isinstance(wanted, Mapping | list | tuple):
        return not wanted and name not in MEANINGFUL_WHEN_EMPTY
    return wanted is None or (not wanted and name in DROPPED_WHEN_ZERO)


def _equal_quantities(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return all(name in found and _same_amount(value, found[name]) for name, value in wanted.items())


def _same_amount(wanted: Any, found: Any) -> bool:
    try:
        return amount(str(wanted)) == amount(str(found))
    except ValueError:
        return bool(wanted == found)
