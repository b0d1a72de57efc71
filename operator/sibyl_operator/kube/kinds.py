"""Every kind that the operator touches, with its place in the API: a table instead of discovery.

The kinds are known when the program is written, so no round trip, no cache file and no model is needed to address them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of object and where the API server keeps it; all of ours live in namespaces."""

    name: str
    api_version: str
    plural: str

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def version(self) -> str:
        """The version inside the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection (of all namespaces when None), of one object or of its subresource."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = [] if namespace is None else ["namespaces", namespace]
        return "/".join([root, *scope, self.plural, *(part for part in (name, subresource) if part)])


KINDS = {
    kind.name: kind
    for kind in (
        Kind("ConfigMap", "v1", "configmaps"),
        Kind("Deployment", "apps/v1", "deployments"),
        Kind("Event", "events.k8s.io/v1", "events"),
        Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers"),
        Kind("Lease", "coordination.k8s.io/v1", "leases"),
        Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
        Kind("Pod", "v1", "pods"),
        Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
        Kind("Secret", "v1", "secrets"),
        Kind("Service", "v1", "services"),
        Kind("ServiceAccount", "v1", "serviceaccounts"),
        Kind("SibylWorkspace", "sibyl.dev/v1alpha1", "sibylworkspaces"),
        Kind("StatefulSet", "apps/v1", "statefulsets"),
    )
}


def kind_of(name: str) -> Kind:
    """Look a kind up by its name; ValueError for one that the operator has no business with."""
    try:
        return KINDS[name]
    except KeyError:
        raise ValueError(f"kind {name!r} is not in the table of kinds; known: {', '.join(sorted(KINDS))}") from None
