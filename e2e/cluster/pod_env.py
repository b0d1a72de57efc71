"""The environment of a container: the rules of the kubelet for `env`, `envFrom` and `$(VAR)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from e2e.cluster.pod_spec import ConfigReader, Container, NotStartableError, Pod

_EXPANSION = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; `$$` gives `$`, and an unknown name stays as it is written."""

    def value(found: re.Match[str]) -> str:
        return "$" if found.group(1) is None else variables.get(found.group(1), found.group(0))

    return _EXPANSION.sub(value, text)


def container_env(
    container: Container, pod: Pod, reader: ConfigReader, rewrite: Callable[[str], str] = lambda text: text
) -> dict[str, str]:
    """All variables of the container; `env` wins over `envFrom`, and a value may use the variables before it.

    `rewrite` is applied to values written in the pod itself, never to those that come from a Secret or ConfigMap.
    Raises NotStartableError (CreateContainerConfigError) for a reference that is neither there nor optional.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        variables.update(_env_from(source, reader))
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            value = _value_from(entry["valueFrom"], pod, reader)
            if value is not None:
                variables[entry["name"]] = value
        else:
            variables[entry["name"]] = expand(rewrite(entry.get("value", "")), variables)
    return variables


def _env_from(source: Mapping[str, Any], reader: ConfigReader) -> Iterator[tuple[str, str]]:
    for kind, data_of in _readers(reader):
        reference = source.get(f"{kind}Ref")
        if reference is None:
            continue
        data = data_of(reference["name"])
        if data is None and not reference.get("optional"):
            raise missing_object(kind, reference["name"])
        for key, value in (data or {}).items():
            yield source.get("prefix", "") + key, _text(value)


def _value_from(source: Mapping[str, Any], pod: Pod, reader: ConfigReader) -> str | None:
    """The referenced value, or None for an optional reference to nothing."""
    if "fieldRef" in source:
        return field_value(source["fieldRef"]["fieldPath"], pod)
    for kind, data_of in _readers(reader):
        reference = source.get(f"{kind}KeyRef")
        if reference is None:
            continue
        data = data_of(reference["name"])
        if data is not None and reference["key"] in data:
            return _text(data[reference["key"]])
        if reference.get("optional"):
            return None
        if data is None:
            raise missing_object(kind, reference["name"])
        where = f"{_title(kind)} {pod['metadata']['namespace']}/{reference['name']}"
        raise NotStartableError("CreateContainerConfigError", f"couldn't find key {reference['key']} in {where}")
    raise NotStartableError("CreateContainerConfigError", f"cannot take a value from {', '.join(source)}")


def field_value(path: str, pod: Pod) -> str:
    """The value of a `fieldRef`. Raises NotStartableError for a path that this node does not know."""
    found = _SUBSCRIPT.fullmatch(path)
    if found:
        return str((pod["metadata"].get(found.group(1)) or {}).get(found.group(2), ""))
    values = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName"),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName"),
        "status.hostIP": pod.get("status", {}).get("hostIP"),
        "status.podIP": pod.get("status", {}).get("podIP"),
        "status.podIPs": pod.get("status", {}).get("podIP"),
    }
    if path not in values:
        raise NotStartableError(
            "CreateContainerConfigError", f"unsupported fieldPath {path}; supported: {', '.join(sorted(values))}"
        )
    return str(values[path] or "")


def missing_object(kind: str, name: str) -> NotStartableError:
    """The error for a ConfigMap or Secret that does not exist, in the kubelet's words."""
    return NotStartableError("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")  # an environment holds bytes; a Secret may hold any


def _readers(reader: ConfigReader) -> tuple[tuple[str, Callable[[str], Mapping[str, bytes] | None]], ...]:
    return ("configMap", reader.config_map), ("secret", reader.secret)


def _title(kind: str) -> str:
    return kind[0].upper() + kind[1:]
