"""The rights of the operator: one line per kind, exactly the verbs that it uses, and why.

Nothing here can list or change a Secret, escalate, or touch what the operator did not make: label
selectors do not limit RBAC, so the operator checks owners itself. Kept in alphabetical order, so that nothing is
repeated or missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sibyl_operator.api import group

CHILD_VERBS: Final = ("create", "delete", "get", "list", "patch", "watch")


@dataclass(frozen=True)
class Grant:
    """Verbs on one resource; `names` restricts them to objects of these names (never possible for create)."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    reason: str
    names: tuple[str, ...] = ()

    def rule(self) -> dict[str, Any]:
        """The entry of a Role."""
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": [self.resource],
            "verbs": list(self.verbs),
        }
        return {**rule, "resourceNames": list(self.names)} if self.names else rule


WORKSPACE_GRANTS: Final = (
    Grant(
        "", "configmaps", CHILD_VERBS, "child: the effective document; those that a workspace names are read by name"
    ),
    Grant("", "pods", ("list",), "addresses of the runtime pods, to ask each what it loaded and counted"),
    Grant("", "secrets", ("create", "get"), "credentials: those that a workspace names are read, ours made once"),
    Grant("", "serviceaccounts", CHILD_VERBS, "child: the identity of the runtime pods"),
    Grant("", "services", CHILD_VERBS, "child: the address of the runtime"),
    Grant("apps", "deployments", CHILD_VERBS, "child: the runtime pods"),
    Grant("apps", "statefulsets", CHILD_VERBS, "child: the servers of a Builtin database; their volumes are not ours"),
    Grant("autoscaling", "horizontalpodautoscalers", CHILD_VERBS, "child: the number of pods"),
    Grant("events.k8s.io", "events", ("create",), "transitions of conditions, as Events on the workspace"),
    Grant("networking.k8s.io", "networkpolicies", CHILD_VERBS, "child: who may talk to the pods, and they to whom"),
    Grant("policy", "poddisruptionbudgets", CHILD_VERBS, "child: what draining a node may take away at once"),
    Grant(group.GROUP, group.PLURAL, ("get", "list", "watch"), "the workspaces themselves: read, never changed"),
    Grant(
        group.GROUP,
        f"{group.PLURAL}/finalizers",
        ("update",),
        "owner references that block deletion, where the API server enforces that permission",
    ),
    Grant(group.GROUP, f"{group.PLURAL}/status", ("patch",), "what was observed"),
)


def lease_grants(lease: str) -> tuple[Grant, ...]:
    """Rights of leadership, in the operator's own namespace only."""
    return (
        Grant("coordination.k8s.io", "leases", ("create",), "leadership: the first replica makes the Lease"),
        Grant("coordination.k8s.io", "leases", ("get", "update"), "leadership: taken, renewed, released", (lease,)),
    )
