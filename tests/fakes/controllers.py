"""The cluster's own controllers, as far as the operator can tell them from real ones: pods and the autoscaler."""

from __future__ import annotations

from sibyl_operator.kube import Manifest
from tests.fakes.cluster import FakeCluster

CONTROLLER = "kube-controller-manager"


def run_controllers(cluster: FakeCluster, namespace: str = "team") -> None:
    """Let the autoscaler act, then every Deployment and StatefulSet roll out completely, with ready pods."""
    for autoscaler in cluster.all("HorizontalPodAutoscaler", namespace):
        _scale(cluster, autoscaler)
    for kind in ("Deployment", "StatefulSet"):
        for workload in cluster.all(kind, namespace):
            _roll_out(cluster, workload)


def autoscale(cluster: FakeCluster, namespace: str, name: str, replicas: int) -> None:
    """Set the number of pods the way the autoscaler does."""
    cluster.edit("Deployment", namespace, name, lambda live: live["spec"].update(replicas=replicas), manager=CONTROLLER)


def _scale(cluster: FakeCluster, autoscaler: Manifest) -> None:
    namespace, spec = autoscaler["metadata"]["namespace"], autoscaler["spec"]
    target = cluster.peek("Deployment", namespace, spec["scaleTargetRef"]["name"])
    if target is None:
        return
    replicas = min(max(target["spec"]["replicas"], spec["minReplicas"]), spec["maxReplicas"])
    if replicas != target["spec"]["replicas"]:
        autoscale(cluster, namespace, target["metadata"]["name"], replicas)


def _roll_out(cluster: FakeCluster, workload: Manifest) -> None:
    kind, metadata, replicas = workload["kind"], workload["metadata"], workload["spec"]["replicas"]
    namespace, name = metadata["namespace"], metadata["name"]
    template = workload["spec"]["template"]
    wanted = {f"{name}-{number}" for number in range(replicas)}
    for pod in cluster.all("Pod", namespace):
        stale = pod["metadata"]["name"] not in wanted or pod["metadata"].get("annotations") != _annotations(template)
        if stale and _belongs(pod, name):
            cluster.remove("Pod", namespace, pod["metadata"]["name"])
    for pod_name in sorted(wanted):
        if cluster.peek("Pod", namespace, pod_name) is None:
            cluster.put(_pod(pod_name, workload), manager="kubelet")
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    status = {"observedGeneration": metadata["generation"], **counts}
    if workload.get("status") != status:
        cluster.edit(kind, namespace, name, lambda live: live.update(status=status), manager=CONTROLLER)


def _annotations(template: Manifest) -> dict[str, str]:
    annotations: dict[str, str] = template["metadata"].get("annotations", {})
    return annotations


def _belongs(pod: Manifest, workload: str) -> bool:
    return any(reference["name"] == workload for reference in pod["metadata"].get("ownerReferences", ()))


def _pod(name: str, workload: Manifest) -> Manifest:
    template, metadata = workload["spec"]["template"], workload["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": _annotations(template),
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": workload["kind"], "name": metadata["name"], "uid": metadata["uid"]}
            ],
        },
        "spec": {"containers": []},
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    }
