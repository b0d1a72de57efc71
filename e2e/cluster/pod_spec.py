"""Read a Pod: what this node needs of it, and what it must refuse because it could only pretend to honour it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

Pod = Mapping[str, Any]
Container = Mapping[str, Any]

_POD_HONOURED = {
    "containers",
    "hostname",
    "nodeName",
    "restartPolicy",
    "serviceAccount",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "volumes",
}
# Placement and isolation: a process of the host has neither, and no test on this node can be about them.
_POD_MEANINGLESS = {
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "imagePullSecrets",
    "nodeSelector",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "schedulerName",
    "securityContext",
    "subdomain",
    "tolerations",
    "topologySpreadConstraints",
}
_CONTAINER_HONOURED = {
    "args",
    "command",
    "env",
    "envFrom",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "startupProbe",
    "volumeMounts",
    "workingDir",
}
_CONTAINER_MEANINGLESS = {
    "image",
    "imagePullPolicy",
    "resources",
    "securityContext",
    "terminationMessagePath",
    "terminationMessagePolicy",
}
_VOLUMES = {"configMap", "emptyDir", "projected", "secret"}
_MOUNT_FIELDS = {"mountPath", "name", "readOnly", "recursiveReadOnly", "subPath"}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


class ConfigReader(Protocol):
    """Gives the data of ConfigMaps and Secrets of one namespace, None for one that does not exist, and tokens."""

    def config_map(self, name: str) -> Mapping[str, bytes] | None:
        """The data of a ConfigMap."""

    def secret(self, name: str) -> Mapping[str, bytes] | None:
        """The decoded data of a Secret."""

    def token(self, service_account: str, source: Mapping[str, Any]) -> str:
        """A token for the pod's ServiceAccount, as a `serviceAccountToken` volume source asks for it."""


class NotStartableError(Exception):
    """The container cannot start. `reason` and the message go to the pod's status, as a kubelet words them."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def container_of(pod: Pod) -> Container:
    """The one container of a pod."""
    found: Container = pod["spec"]["containers"][0]
    return found


def key_of(pod: Pod) -> tuple[str, str, str]:
    """Namespace, name and uid: a pod that was deleted and made again is another pod."""
    metadata = pod["metadata"]
    return metadata["namespace"], metadata["name"], metadata["uid"]


def container_ports(pod: Pod) -> dict[str, int]:
    """The TCP ports of the container by name, or by number where they have no name."""
    ports = container_of(pod).get("ports") or ()
    return {
        port.get("name") or str(port["containerPort"]): port["containerPort"]
        for port in ports
        if port.get("protocol", "TCP") == "TCP"
    }


def unsupported(pod: Pod) -> list[str]:
    """The paths of all fields that this node cannot honour; empty where the pod can run."""
    return sorted({*_unsupported_in_pod(pod["spec"]), *_unsupported_in_container(container_of(pod))})


def _unsupported_in_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"spec.{key}" for key in _set_keys(spec) - _POD_HONOURED - _POD_MEANINGLESS)
    yield from (f"spec.containers[{index}]" for index in range(1, len(spec["containers"])))
    for volume in spec.get("volumes") or ():
        path = f"spec.volumes[{volume['name']}]"
        yield from (f"{path}.{kind}" for kind in _set_keys(volume) - {"name"} - _VOLUMES)
        for source in volume.get("projected", {}).get("sources") or ():
            allowed = {"configMap", "secret", "serviceAccountToken", "downwardAPI"}
            yield from (f"{path}.projected.{kind}" for kind in _set_keys(source) - allowed)


def _unsupported_in_container(container: Container) -> Iterator[str]:
    path = f"spec.containers[{container['name']}]"
    yield from (f"{path}.{key}" for key in _set_keys(container) - _CONTAINER_HONOURED - _CONTAINER_MEANINGLESS)
    for hook, action in (container.get("lifecycle") or {}).items():
        if hook != "preStop" or _set_keys(action) != {"sleep"}:
            yield f"{path}.lifecycle.{hook} (only preStop.sleep)"
    for name in PROBES:
        probe = container.get(name) or {}
        if probe and "httpGet" not in probe:
            yield f"{path}.{name} (only httpGet)"
        if probe.get("httpGet", {}).get("host"):
            yield f"{path}.{name}.httpGet.host"
        if probe.get("terminationGracePeriodSeconds"):
            yield f"{path}.{name}.terminationGracePeriodSeconds"
    for mount in container.get("volumeMounts") or ():
        yield from (f"{path}.volumeMounts[{mount['name']}].{key}" for key in _set_keys(mount) - _MOUNT_FIELDS)
    for variable in container.get("env") or ():
        for kind in _set_keys(variable.get("valueFrom") or {}) - {"configMapKeyRef", "fieldRef", "secretKeyRef"}:
            yield f"{path}.env[{variable['name']}].valueFrom.{kind}"


def _set_keys(section: Mapping[str, Any]) -> set[str]:
    """The keys that ask for something: the API server also writes out empty and false ones."""
    return {key for key, value in section.items() if value or value == {}}
