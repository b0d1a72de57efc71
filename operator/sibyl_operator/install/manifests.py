"""Everything that `kubectl apply` needs to run the operator, for the whole cluster or for some namespaces only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sibyl_operator import __version__
from sibyl_operator.api.crd import custom_resource_definition
from sibyl_operator.install.deployment import operator_deployment
from sibyl_operator.rbac import WORKSPACE_GRANTS, Grant, lease_grants, role, with_reasons
from sibyl_operator.yaml_text import dump

Manifest = dict[str, Any]

NAME: Final = "sibyl-operator"
LEASE: Final = "sibyl-operator"
POD_SECURITY: Final = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True)
class Installation:
    """How to install. `serves` names the namespaces to serve; empty for all, which takes a ClusterRole."""

    namespace: str = "sibyl-system"
    image: str = f"sibyl-operator:{__version__}"
    replicas: int = 2
    serves: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every object of the installation."""
        return {
            **self.selector,
            "app.kubernetes.io/managed-by": "kubectl",
            "app.kubernetes.io/part-of": "sibyl",
            "app.kubernetes.io/version": __version__,
        }

    @property
    def selector(self) -> dict[str, str]:
        """What finds the operator's pods."""
        return {
            "app.kubernetes.io/component": "operator",
            "app.kubernetes.io/instance": NAME,
            "app.kubernetes.io/name": NAME,
        }

    def metadata(self, name: str, namespace: str | None) -> dict[str, Any]:
        """Metadata of one object; None for an object of the whole cluster."""
        scope = {} if namespace is None else {"namespace": namespace}
        return {"name": name, **scope, "labels": self.labels}


def installation(plan: Installation) -> tuple[Manifest, ...]:
    """All objects, in the order in which they have to be made."""
    return tuple(manifest for manifest, _ in _objects(plan))


def installation_text(plan: Installation) -> str:
    """All objects as YAML, with a reason beside every right."""
    return "---\n".join(
        with_reasons(dump(manifest, sort_keys=False), grants) if grants else dump(manifest, sort_keys=False)
        for manifest, grants in _objects(plan)
    )


def _objects(plan: Installation) -> Iterator[tuple[Manifest, tuple[Grant, ...]]]:
    yield _namespace(plan), ()
    yield custom_resource_definition(), ()
    yield _service_account(plan), ()
    if plan.serves:
        for namespace in plan.serves:
            yield role("Role", plan.metadata(NAME, namespace), WORKSPACE_GRANTS), WORKSPACE_GRANTS
            yield _binding(plan, NAME, namespace, "Role"), ()
    else:
        yield role("ClusterRole", plan.metadata(NAME, None), WORKSPACE_GRANTS), WORKSPACE_GRANTS
        yield _binding(plan, NAME, None, "ClusterRole"), ()
    leases = lease_grants(LEASE)
    yield role("Role", plan.metadata(f"{NAME}-leases", plan.namespace), leases), leases
    yield _binding(plan, f"{NAME}-leases", plan.namespace, "Role"), ()
    yield (
        operator_deployment(
            metadata=plan.metadata(NAME, plan.namespace),
            selector=plan.selector,
            labels=plan.labels,
            image=plan.image,
            replicas=plan.replicas,
            service_account=NAME,
            serves=plan.serves,
            lease=LEASE,
        ),
        (),
    )


def _namespace(plan: Installation) -> Manifest:
    metadata = plan.metadata(plan.namespace, None)
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {**metadata, "labels": {**metadata["labels"], **POD_SECURITY}},
    }


def _service_account(plan: Installation) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": plan.metadata(NAME, plan.namespace),
        "automountServiceAccountToken": False,  # the Deployment asks for the token itself
    }


def _binding(plan: Installation, name: str, namespace: str | None, kind: str) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": f"{kind}Binding",
        "metadata": plan.metadata(name, namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": plan.namespace}],
    }
