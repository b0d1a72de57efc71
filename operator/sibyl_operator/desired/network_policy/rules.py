"""The words that policies are made of: peers, ports, and a policy around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sibyl_operator.desired.names import Names

Rule = dict[str, Any]
Peer = dict[str, Any]

POSTGRES_PORT: Final = 5432
DNS_PORT: Final = 53
# The operator may run in any namespace, so its pods are known by what they are.
OPERATOR: Final[Peer] = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": "sibyl"}},
}
ANY_POD: Final[Peer] = {"namespaceSelector": {}}
# To any address: the cluster's DNS has no label that all distributions share, and may run on the node itself.
DNS: Final[Rule] = {
    "ports": [{"protocol": "UDP", "port": DNS_PORT}, {"protocol": "TCP", "port": DNS_PORT}],
}


def policy(name: str, component: str, names: Names, *, ingress: Sequence[Rule], egress: Sequence[Rule]) -> Rule:
    """The NetworkPolicy of one component. Both directions are always judged, and both lists always sent: an empty list
    allows nothing, and a rule that somebody adds to it is taken out again.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": names.metadata(name, component=component),
        "spec": {
            "podSelector": {"matchLabels": names.selector(component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": list(ingress),
            "egress": list(egress),
        },
    }


def pods(component: str, names: Names) -> Peer:
    """The pods of a component of the same workspace."""
    return {"podSelector": {"matchLabels": names.selector(component)}}


def ports(*numbers: int) -> list[dict[str, Any]]:
    """TCP ports, as the pod that listens has them: a policy does not see those of a Service."""
    return [{"protocol": "TCP", "port": number} for number in numbers]
