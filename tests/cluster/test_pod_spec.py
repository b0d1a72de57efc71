"""What a process node refuses."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster.pod_spec import unsupported

# What the API server and the controllers write into every pod of a Deployment.
DEFAULTS: dict[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "serviceAccount": "default",
    "serviceAccountName": "default",
    "terminationGracePeriodSeconds": 30,
    "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
}


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    first = {"name": "web", "image": "x", "imagePullPolicy": "IfNotPresent", "resources": {}, **(container or {})}
    return {"spec": {**DEFAULTS, "containers": [first], **spec}}


@pytest.mark.parametrize(
    "good",
    [
        pod(),
        pod({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}),
        pod({"readinessProbe": {"httpGet": {"path": "/", "port": 80}}}),
        pod(volumes=[{"name": "v", "emptyDir": {}}], affinity={"podAntiAffinity": {}}),
    ],
)
def test_what_a_deployment_of_ours_writes_is_taken(good: dict[str, Any]) -> None:
    assert unsupported(good) == []


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (pod(initContainers=[{"name": "i"}]), "spec.initContainers"),
        (pod(hostNetwork=True), "spec.hostNetwork"),
        (
            pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
            "spec.volumes[v].persistentVolumeClaim",
        ),
        (pod(containers=[{"name": "a"}, {"name": "b"}]), "spec.containers[1]"),
        (
            pod({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}),
            "spec.containers[web].lifecycle.preStop (only preStop.sleep)",
        ),
        (pod({"livenessProbe": {"tcpSocket": {"port": 1}}}), "spec.containers[web].livenessProbe (only httpGet)"),
        (
            pod({"env": [{"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}),
            "spec.containers[web].env[E].valueFrom.resourceFieldRef",
        ),
        (pod({"stdin": True}), "spec.containers[web].stdin"),
    ],
)
def test_what_cannot_be_honoured_is_named(bad: dict[str, Any], named: str) -> None:
    assert unsupported(bad) == [named]
