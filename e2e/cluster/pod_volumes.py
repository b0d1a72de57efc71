"""The volumes of a pod as directories of the host, and its mount paths rewritten to them.

A process of the host has no mount namespace, so `/etc/sibyl` of the container is a directory elsewhere. Where the
pod's own text (command, args, values of variables) names a mount path, that text is changed to the directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.pod_env import field_value, missing_object
from e2e.cluster.pod_spec import ConfigReader, NotStartableError, Pod, container_of

Files = dict[str, bytes]


@dataclass(frozen=True)
class Mount:
    """A mount path of the container and the file or directory of the host that stands for it."""

    path: str
    host: Path


def materialise(pod: Pod, reader: ConfigReader, directory: Path) -> list[Mount]:
    """Write every volume that the container mounts below `directory`; content is what exists now, once.

    Raises NotStartableError (ContainerCreating, as a kubelet reports a failed mount) for a missing source.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    mounts = []
    for mount in container_of(pod).get("volumeMounts") or ():
        volume = volumes[mount["name"]]
        host = directory / volume["name"]
        try:
            _write(host, _files(volume, pod, reader), _mode(volume))
        except NotStartableError as error:
            message = f'MountVolume.SetUp failed for volume "{volume["name"]}": {error}'
            raise NotStartableError("ContainerCreating", message) from error
        sub_path = mount.get("subPath")
        if sub_path and "emptyDir" in volume:
            (host / sub_path).mkdir(parents=True, exist_ok=True)
        mounts.append(Mount(mount["mountPath"], host / sub_path if sub_path else host))
    return mounts


def rewriter(mounts: Sequence[Mount]) -> Callable[[str], str]:
    """A function that replaces mount paths in a text, longest first, where they stand as whole path prefixes."""
    hosts = {mount.path.rstrip("/"): str(mount.host) for mount in mounts}
    if not hosts:
        return lambda text: text
    paths = "|".join(re.escape(path) for path in sorted(hosts, key=len, reverse=True))
    # Not inside another path or a URL's path, but after `file://`; then the end, a deeper path or a separator.
    pattern = re.compile(rf"(?:(?<![\w./-])|(?<=://))({paths})(?![\w.-])")
    return lambda text: pattern.sub(lambda found: hosts[found.group(1)], text)


def _write(directory: Path, files: Files, mode: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)


def _mode(volume: Mapping[str, Any]) -> int:
    source = volume.get("configMap") or volume.get("secret") or volume.get("projected") or {}
    # Added for the owner: the process runs as ourselves, and the directory must be removable.
    return int(source.get("defaultMode", 0o644)) | 0o400


def _files(volume: Mapping[str, Any], pod: Pod, reader: ConfigReader) -> Files:
    if "projected" in volume:
        found: Files = {}
        for source in volume["projected"].get("sources") or ():
            found.update(_projected(source, pod, reader))
        return found
    if "configMap" in volume:
        return _from_object("configMap", volume["configMap"]["name"], volume["configMap"], reader.config_map)
    if "secret" in volume:
        return _from_object("secret", volume["secret"]["secretName"], volume["secret"], reader.secret)
    return {}


def _projected(source: Mapping[str, Any], pod: Pod, reader: ConfigReader) -> Files:
    if "configMap" in source:
        return _from_object("configMap", source["configMap"]["name"], source["configMap"], reader.config_map)
    if "secret" in source:
        return _from_object("secret", source["secret"]["name"], source["secret"], reader.secret)
    if "serviceAccountToken" in source:
        account = pod["spec"].get("serviceAccountName") or "default"
        token = reader.token(account, source["serviceAccountToken"])
        return {source["serviceAccountToken"]["path"]: token.encode()}
    return dict(_downward(source["downwardAPI"].get("items") or (), pod))


def _downward(items: Sequence[Mapping[str, Any]], pod: Pod) -> Iterator[tuple[str, bytes]]:
    for item in items:
        if "fieldRef" not in item:
            raise NotStartableError("ContainerCreating", f"downwardAPI item {item['path']}: only fieldRef is supported")
        yield item["path"], field_value(item["fieldRef"]["fieldPath"], pod).encode()


def _from_object(
    kind: str, name: str, source: Mapping[str, Any], data_of: Callable[[str], Mapping[str, bytes] | None]
) -> Files:
    data, optional = data_of(name), bool(source.get("optional"))
    if data is None:
        if optional:
            return {}
        raise missing_object(kind, name)
    if not source.get("items"):
        return dict(data)
    found: Files = {}
    for item in source["items"]:
        if item["key"] in data:
            found[item["path"]] = data[item["key"]]
        elif not optional:
            raise NotStartableError(
                "ContainerCreating", f'references non-existent key "{item["key"]}" in {kind} {name}'
            )
    return found
