"""The objects that a node needs in the API: classes of volumes, and the metrics API. Pure builders."""

from __future__ import annotations

from typing import Any

from e2e.node.layout import ADDRESS, NODE_NAME

Manifest = dict[str, Any]

PROVISIONER = "node.sibyl.dev/local"
DEFAULT_CLASS = "local"
LIMITED_CLASS = "local-limited"
_METRICS = "metrics-server"
_SYSTEM = "kube-system"


def storage_classes() -> list[Manifest]:
    """`local`, the default: a directory. `local-limited`: a filesystem of exactly the size that the claim asks for."""
    return [_storage_class(DEFAULT_CLASS, default=True), _storage_class(LIMITED_CLASS, default=False)]


def _storage_class(name: str, *, default: bool) -> Manifest:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": name,
            "annotations": {"storageclass.kubernetes.io/is-default-class": str(default).lower()},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def persistent_volume(claim: Manifest, name: str, path: str) -> Manifest:
    """The volume for a claim. A `local` volume, not a hostPath: the kubelet then applies the pod's fsGroup to it."""
    metadata, spec = claim["metadata"], claim["spec"]
    on_this_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec["storageClassName"],
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_this_node]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
        },
    }


def metrics_api(port: int) -> list[Manifest]:
    """The metrics API, served by the process on the node's address: a Service without a selector leads to it."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": _METRICS, "namespace": _SYSTEM},
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": _METRICS,
                "namespace": _SYSTEM,
                "labels": {"kubernetes.io/service-name": _METRICS},
            },
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": _METRICS, "namespace": _SYSTEM, "port": 443},
            },
        },
    ]
