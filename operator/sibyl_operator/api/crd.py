"""The CustomResourceDefinition, as `crds/` holds it and `sibyl-operator crd` prints it."""

from __future__ import annotations

from typing import Any, Final

from sibyl_operator.api import group
from sibyl_operator.api.document_schema import document_schema
from sibyl_operator.api.models import SibylWorkspaceSpec
from sibyl_operator.api.schema import Conventions, Schema, structural_schema
from sibyl_operator.api.status_models import SibylWorkspaceStatus

DESCRIPTION: Final = "A RAG service: its workspace document, the pods that serve it, its database and its cache."

_READY: Final = '.status.conditions[?(@.type=="Ready")]'
COLUMNS: Final = (
    ("Ready", "string", f"{_READY}.status", 0, "Whether the service runs as specified."),
    ("P95", "string", ".status.kpis.p95", 0, "95th percentile of the latency of tool calls."),
    ("RPS", "string", ".status.kpis.requestsPerSecond", 0, "Tool calls per second."),
    ("Hit%", "integer", ".status.kpis.cacheHitPercent", 0, "Answers taken from the cache, percent."),
    ("Replicas", "string", ".status.replicas.text", 0, "Pods that are ready, of those that should be."),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since the object was made."),
    ("Reason", "string", f"{_READY}.reason", 1, "Why it is, or is not, ready."),
    ("Config", "string", ".status.effectiveConfigHash", 1, "Hash of the configuration in effect."),
    ("Message", "string", f"{_READY}.message", 1, "What is wrong, and what to do."),
)


def custom_resource_definition() -> dict[str, Any]:
    """The manifest. Deterministic: the same models give the same object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": group.CRD_NAME},
        "spec": {
            "group": group.GROUP,
            "names": {
                "kind": group.KIND,
                "listKind": f"{group.KIND}List",
                "plural": group.PLURAL,
                "singular": group.SINGULAR,
                "shortNames": [group.SHORT_NAME],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": group.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": resource_schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
                }
            ],
        },
    }


def resource_schema() -> Schema:
    """The structural schema of the whole object."""
    return {
        "description": DESCRIPTION,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this representation."},
            "kind": {"type": "string", "description": group.KIND},
            "metadata": {"type": "object"},
            "spec": spec_schema(),
            "status": structural_schema(SibylWorkspaceStatus, Conventions(defaults=False)),
        },
    }


def spec_schema() -> Schema:
    """The schema of `spec`, with that of the workspace document in its place."""
    schema = structural_schema(SibylWorkspaceSpec)
    described = schema["properties"]["workspace"]["description"]
    schema["properties"]["workspace"] = {**document_schema(), "description": described}
    return schema


def _column(name: str, kind: str, path: str, priority: int, description: str) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column
