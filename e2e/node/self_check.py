"""Small pods that prove the node: what the scenarios rely on is shown here first, and each step with its time.

All of it is done with the one program of the sandbox image, so it needs no image of the product.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from e2e.cluster.errors import ClusterError
from e2e.cluster.waiting import wait_until
from e2e.node.layout import TINY_IMAGE
from e2e.node.node import Node
from e2e.node.objects import DEFAULT_CLASS, LIMITED_CLASS

NAMESPACE = "node-check"
_RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_LIMIT = 16 * 2**20


def check_node(node: Node, out: Callable[[str], None] = print) -> int:
    """Run every step; 0 where all held, 1 at the first that did not, which is printed with its reason."""
    for step in STEPS:
        title = (step.__doc__ or "").partition(".")[0]
        started = time.monotonic()
        try:
            step(node)
        except (ClusterError, AssertionError, httpx.HTTPError) as error:
            out(f"FAILED {title}: {error or type(error).__name__}")
            out(node.kubectl("get", "pods,pvc,events", "--namespace", NAMESPACE, check=False).stdout)
            return 1
        out(f"ok {time.monotonic() - started:5.1f} s  {title}")
    return 0


def start_pods(node: Node) -> None:
    """A Deployment of restricted pods with probes becomes available."""
    web = _deployment("web", "serve", replicas=2, port=8080)
    node.apply(json.dumps(_list(_namespace(), web, _service("web"))))
    node.wait("deployment/web", for_="condition=Available", namespace=NAMESPACE)


def service_answers_this_machine(node: Node) -> None:
    """The Service answers this machine by its ClusterIP."""
    address = _kubectl(node, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    wait_until(lambda: _get(f"http://{address}"), what="an answer of the Service", timeout=10.0)


def service_answers_pods(node: Node) -> None:
    """The Service answers another pod by its DNS name, and a pod reaches the API server."""
    url = f"http://web.{NAMESPACE}.svc.cluster.local"
    answer = _kubectl(node, "exec", "deployment/web", "--", "/tiny", "get", url)
    assert answer.startswith("web-"), answer
    refused = node.kubectl(
        "--namespace", NAMESPACE, "exec", "deployment/web", "--", "/tiny", "get", "https://kubernetes.default.svc",
        check=False,
    )  # fmt: skip
    assert "certificate" in refused.stderr, refused.stderr  # it has no trust in it, so it has been there


def logs_are_there(node: Node) -> None:
    """kubectl logs shows what a container wrote, and the logs can be kept."""
    assert "serving as web-" in _kubectl(node, "logs", "deployment/web")
    kept = node.work / "logs"
    node.save_logs(kept)
    assert {"kubelet.log", "kube-apiserver.log", "containerd.log", "events.txt"} <= {
        path.name for path in kept.iterdir()
    }
    assert any("serving as web-" in path.read_text() for path in kept.glob("pods/*_web-*/tiny/*.log"))


def images_are_there(node: Node) -> None:
    """An image is imported from an archive, and a pod whose image is nowhere says so."""
    assert TINY_IMAGE in node.images()
    lost = _deployment("lost", "serve", image="localhost/nowhere:1")
    node.apply(json.dumps(_list(lost)))
    path = "jsonpath={.items[*].status.containerStatuses[0].state.waiting.reason}"

    def told() -> bool:
        return "Image" in _kubectl(node, "get", "pods", "-l", "app=lost", "-o", path)

    wait_until(told, what="the pod to say that its image cannot be pulled", timeout=30.0)
    _kubectl(node, "delete", "deployment", "lost", "--wait=false")


def metrics_are_there(node: Node) -> None:
    """kubectl top shows the pods' use."""

    def shown() -> bool:
        done = node.kubectl("top", "pods", "--namespace", NAMESPACE, "--no-headers", check=False)
        return done.stdout.count("web-") == 2

    wait_until(shown, what="kubectl top pods to show both pods", timeout=60.0, interval=0.5)


def autoscaler_scales(node: Node) -> None:
    """An HPA reads a metric and adds a pod."""
    node.apply(json.dumps(_list(_deployment("burner", "burn", replicas=1, cpu="50m"), _autoscaler("burner"))))

    def scaled() -> bool:
        found = json.loads(_kubectl(node, "get", "hpa", "burner", "-o", "json"))["status"]
        return bool(found.get("currentMetrics")) and found.get("desiredReplicas", 0) > 1

    wait_until(scaled, what="the HPA to want a second pod", timeout=90.0, interval=0.5)
    _kubectl(node, "delete", "deployment,hpa", "burner", "--wait=false")


def volumes_work(node: Node) -> None:
    """A claim of the default class is bound, and a pod that is not root writes to it."""
    node.apply(json.dumps(_list(_claim("data", DEFAULT_CLASS, "1Gi"), _deployment("holder", "serve", claim="data"))))
    node.wait("deployment/holder", for_="condition=Available", namespace=NAMESPACE)
    path = node.layout.volumes / _volume(node, "data")
    assert path.stat().st_gid == 65532, "the volume does not belong to the pod's fsGroup"


def disk_can_be_full(node: Node) -> None:
    """A limited volume is full at its size, and takes more once it has grown."""
    claim = _claim("small", LIMITED_CLASS, f"{_LIMIT >> 20}Mi")
    node.apply(json.dumps(_list(claim, _deployment("filler", "serve", claim="small"))))
    node.wait("deployment/filler", for_="condition=Available", namespace=NAMESPACE)
    first = _fill(node)
    assert 0.8 * _LIMIT < first <= _LIMIT, first
    node.grow_volume(NAMESPACE, "small", f"{2 * _LIMIT >> 20}Mi")
    assert _fill(node) > 1.5 * _LIMIT


def deletion_removes_volumes(node: Node) -> None:
    """Deleting the namespace ends its pods and removes its volumes."""
    names = [_volume(node, claim) for claim in ("data", "small")]
    node.kubectl("delete", "namespace", NAMESPACE, "--timeout=90s")

    def gone() -> bool:
        return not any((node.layout.volumes / name).exists() for name in names)

    wait_until(gone, what="the data of the volumes to go", timeout=20.0)


STEPS = (
    start_pods,
    service_answers_this_machine,
    service_answers_pods,
    logs_are_there,
    images_are_there,
    volumes_work,
    disk_can_be_full,
    metrics_are_there,
    autoscaler_scales,
    deletion_removes_volumes,
)


def _kubectl(node: Node, *arguments: str) -> str:
    return node.kubectl("--namespace", NAMESPACE, *arguments).stdout


def _get(url: str) -> str:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).text
    except httpx.TransportError:  # kube-proxy writes its rules within a moment
        return ""


def _volume(node: Node, claim: str) -> str:
    return _kubectl(node, "get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}")


def _fill(node: Node) -> int:
    """Fill the volume of the pod `filler`; the bytes that went in."""
    command = ["--namespace", NAMESPACE, "exec", "deployment/filler", "--", "/tiny", "fill", "/data"]
    done = node.kubectl(*command, check=False)
    assert "no space left on device" in done.stderr, done.stderr
    return int(done.stdout)


def _list(*items: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def _namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE}


def _deployment(
    name: str,
    part: str,
    *,
    replicas: int = 1,
    port: int | None = None,
    cpu: str = "10m",
    claim: str | None = None,
    image: str = TINY_IMAGE,
) -> dict[str, Any]:
    labels = {"app": name}
    container: dict[str, Any] = {
        "name": "tiny",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [part],
        "resources": {"requests": {"cpu": cpu, "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}},
        "securityContext": _RESTRICTED,
    }
    if port is not None:
        container["ports"] = [{"containerPort": port}]
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1}
    pod: dict[str, Any] = {"securityContext": _RESTRICTED_POD, "containers": [container]}
    pod |= {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    if claim is not None:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(name), "spec": spec}


def _claim(name: str, storage_class: str, size: str) -> dict[str, Any]:
    spec = {
        "storageClassName": storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": _metadata(name), "spec": spec}


def _autoscaler(name: str) -> dict[str, Any]:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1,
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }
