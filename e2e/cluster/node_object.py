"""The Node object of a process node, and the Lease that keeps the controller-manager from calling it dead."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime

from e2e.cluster.kube_rest import ApiError, ApiUnreachableError, KubeRest, Object
from e2e.cluster.pod_status import NODE_ADDRESS, timestamp

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LEASE_SECONDS = 40
_RENEW_SECONDS = 10.0
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class NodeObject:
    """One Node in the API server: made Ready, kept alive, removed."""

    def __init__(self, api: KubeRest, name: str) -> None:
        self.name = name
        self._api = api
        self._renewed = 0.0

    def register(self, now: float) -> None:
        """Make the Node and its Lease, or take over those of an earlier run with this name, and report Ready."""
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _machine()}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}}
        self._create("/api/v1/nodes", node)
        self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": _node_status(self.name, now)})
        metadata = {"name": self.name, "namespace": "kube-node-lease"}
        self._create(_LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata})
        self.keep_alive(now)

    def keep_alive(self, now: float) -> None:
        """Renew the Lease when it is time to."""
        if now - self._renewed < _RENEW_SECONDS:
            return
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        self._api.patch(f"{_LEASES}/{self.name}", {"spec": spec})
        self._renewed = now

    def remove(self) -> None:
        """Delete the Node and its Lease; what cannot be reached any more is left."""
        for path in (f"/api/v1/nodes/{self.name}", f"{_LEASES}/{self.name}"):
            try:
                self._api.delete(path)
            except (ApiError, ApiUnreachableError):  # gone already, or the whole control plane is gone
                continue

    def _create(self, path: str, body: Object) -> None:
        try:
            self._api.post(path, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise


def _node_status(name: str, now: float) -> Object:
    resources = {"cpu": str(os.cpu_count() or 1), "memory": "16Gi", "pods": "200", "ephemeral-storage": "100Gi"}
    return {
        "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": name}],
        "capacity": resources,
        "allocatable": resources,
        "conditions": [
            _condition("Ready", "True", "ProcessNodeReady", now),
            *(
                _condition(kind, "False", "NotWatched", now)
                for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
            ),
        ],
        "nodeInfo": {
            "kubeletVersion": "v1.36.4-process",
            "kernelVersion": platform.release(),
            "osImage": platform.platform(),
            "operatingSystem": "linux",
            "architecture": _machine(),
            "containerRuntimeVersion": "process://1",
        },
    }


def _condition(kind: str, status: str, reason: str, now: float) -> Object:
    stamp = timestamp(now)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "pods of this node are processes of the host",
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }


def _machine() -> str:
    return _MACHINES.get(platform.machine(), platform.machine())
