"""The operator's own Deployment: as restricted as the pods that it makes, and with a second replica standing by."""

from __future__ import annotations

from typing import Any, Final

USER: Final = 65532
HTTP_PORT: Final = 8080
# The process lets passes under way finish for 20 seconds after the signal to stop.
GRACE_SECONDS: Final = 30


def operator_deployment(
    *,
    metadata: dict[str, Any],
    selector: dict[str, str],
    labels: dict[str, str],
    image: str,
    replicas: int,
    service_account: str,
    serves: tuple[str, ...],
    lease: str,
) -> dict[str, Any]:
    """The Deployment; `serves` names the namespaces to serve, empty for all."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "prometheus.io/path": "/metrics",
                        "prometheus.io/port": str(HTTP_PORT),
                        "prometheus.io/scrape": "true",
                    },
                },
                "spec": {
                    "containers": [_container(image, serves, lease)],
                    "serviceAccountName": service_account,
                    **_pod_spec(selector),
                },
            },
        },
    }


def _pod_spec(selector: dict[str, str]) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }


def _container(image: str, serves: tuple[str, ...], lease: str) -> dict[str, Any]:
    return {
        "name": "operator",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sibyl-operator", "run"],
        "env": [
            _from_field("POD_NAME", "metadata.name"),
            _from_field("SIBYL_OPERATOR_LEASE_NAMESPACE", "metadata.namespace"),
            {"name": "SIBYL_OPERATOR_LEASE_NAME", "value": lease},
            {"name": "SIBYL_OPERATOR_HTTP_PORT", "value": str(HTTP_PORT)},
            *([{"name": "SIBYL_OPERATOR_NAMESPACES", "value": ",".join(serves)}] if serves else []),
        ],
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/healthz", period=1, failures=60),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        "readinessProbe": _probe("/readyz", period=5, failures=2),
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
        "successThreshold": 1,
    }
