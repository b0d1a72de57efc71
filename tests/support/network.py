"""May one pod reach another? What a network that enforces NetworkPolicies would answer, from the rendered objects.

The rules are those of networking.k8s.io/v1: a pod that no policy selects may do anything; one that some select may do
what one of them allows; and a connection needs the leave of both ends.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A pod, or with an address and no namespace, something outside the cluster."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = None
    address: str = "10.244.0.9"


def may_reach(policies: Sequence[Policy], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection from `source` to `target` is let out and let in."""
    out = _allowed(policies, "Egress", source, target, (protocol, port))
    return out and _allowed(policies, "Ingress", target, source, (protocol, port))


def _allowed(policies: Iterable[Policy], kind: str, own: Place, other: Place, port: tuple[str, int]) -> bool:
    judging = [p for p in policies if kind in p["spec"]["policyTypes"] and _selected(p, own)]
    direction, peers = ("egress", "to") if kind == "Egress" else ("ingress", "from")
    rules = [(p, rule) for p in judging for rule in p["spec"].get(direction) or ()]
    return not judging or any(
        _peer(rule.get(peers), p["metadata"]["namespace"], other) and _port(rule.get("ports"), port)
        for p, rule in rules
    )


def _selected(policy: Policy, place: Place) -> bool:
    return place.namespace == policy["metadata"]["namespace"] and _matches(policy["spec"]["podSelector"], place.labels)


def _peer(peers: Sequence[Mapping[str, Any]] | None, namespace: str, other: Place) -> bool:
    return not peers or any(_is(peer, namespace, other) for peer in peers)


def _is(peer: Mapping[str, Any], namespace: str, other: Place) -> bool:
    if "ipBlock" in peer:
        return ipaddress.ip_address(other.address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        there = _matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        there = other.namespace == namespace
    return there and _matches(peer.get("podSelector", {}), other.labels)


def _port(ports: Sequence[Mapping[str, Any]] | None, wanted: tuple[str, int]) -> bool:
    return not ports or any(
        port.get("protocol", "TCP") == wanted[0] and port.get("port") in (None, wanted[1]) for port in ports
    )


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, f"{selector} is not understood here"
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return all(labels.get(name) == value for name, value in wanted.items())
