"""The comparison of desired and live: it sees every drift of ours, and nothing of what others add."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.reconcile.difference import difference

SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a default is added": ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}, "status": {"x": 1}}),
    "a sidecar is injected": (
        {"containers": [{"name": "web", "image": "x"}]},
        {"containers": [{"name": "proxy", "image": "p"}, {"name": "web", "image": "x", "tty": False}]},
    ),
    "mounts are reordered": (
        {"volumeMounts": [{"mountPath": "/a"}, {"mountPath": "/b"}]},
        {"volumeMounts": [{"mountPath": "/b"}, {"mountPath": "/a"}]},
    ),
    "a variable is injected between ours": (
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"env": [{"name": "A", "value": "1"}, {"name": "X"}, {"name": "B", "value": "2"}]},
    ),
    "no rule is sent and none is kept": ({"spec": {"egress": []}}, {"spec": {}}),
    "an empty value is dropped": ({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}),
    "empty maps and lists are dropped": ({"nodeSelector": {}, "tolerations": [], "nothing": None}, {}),
    "false is dropped where it is no pointer": ({"volumeMounts": [{"mountPath": "/a", "readOnly": False}]},
                                                {"volumeMounts": [{"mountPath": "/a"}]}),
    "quantities are rewritten": (
        {"resources": {"limits": {"memory": "1024Mi"}, "requests": {"cpu": "1000m", "memory": 1024}}},
        {"resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Ki"}}},
    ),
    "addresses of pods that are not ready are not published": (
        {"publishNotReadyAddresses": False}, {"clusterIP": "None"},
    ),
    "a size limit is rewritten": ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
    "the protocol of a port is defaulted": ({"ports": [{"port": 80}]}, {"ports": [{"port": 80, "protocol": "TCP"}]}),
    "identity is not compared": ({"apiVersion": "v1", "kind": "A"}, {}),
}  # fmt: skip

DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a value": ({"spec": {"a": 1}}, {"spec": {"a": 2}}, "spec.a"),
    "a missing field": ({"spec": {"a": 1}}, {"spec": {}}, "spec.a"),
    "a missing map": ({"spec": {"a": 1}}, {}, "spec"),
    "another type": ({"spec": {"a": {"b": 1}}}, {"spec": {"a": [1]}}, "spec.a"),
    "a list for a scalar": ({"spec": {"a": [1]}}, {"spec": {"a": 1}}, "spec.a"),
    "a removed container": ({"containers": [{"name": "web"}]}, {"containers": [{"name": "x"}]}, "containers[0]"),
    "a changed variable": (
        {"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "2"}]}, "env[0].value",
    ),
    "the order of variables, which refer to those before them": (
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]},
        {"env": [{"name": "B", "value": "$(A)"}, {"name": "A", "value": "1"}]},
        "env",
    ),
    "a way out that was added": ({"spec": {"egress": []}}, {"spec": {"egress": [{}]}}, "spec.egress"),
    "a port that was added to a policy": (
        {"spec": {"ingress": [{"ports": [{"protocol": "TCP", "port": 80}]}]}},
        {"spec": {"ingress": [{"ports": [{"protocol": "TCP", "port": 80}, {"protocol": "TCP", "port": 22}]}]}},
        "spec.ingress[0].ports",
    ),
    "a peer that may be anywhere": (
        {"from": [{"namespaceSelector": {}}]}, {"from": [{}]}, "from[0].namespaceSelector",
    ),
    "a label that was added to a selector": (
        {"spec": {"selector": {"a": "1"}}}, {"spec": {"selector": {"a": "1", "b": "2"}}}, "spec.selector",
    ),
    "an item more in an atomic list": ({"args": ["a"]}, {"args": ["a", "b"]}, "args"),
    "the order of an atomic list": ({"args": ["a", "b"]}, {"args": ["b", "a"]}, "args[0]"),
    "a pointer set to false that is gone": (
        {"automountServiceAccountToken": False}, {}, "automountServiceAccountToken",
    ),
    "an empty map that says something": ({"volumes": [{"name": "t", "emptyDir": {}}]},
                                         {"volumes": [{"name": "t", "hostPath": {}}]}, "volumes[0].emptyDir"),
    "a quantity": ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1001m"}}, "limits"),
    "a limit that is gone": ({"limits": {"cpu": "1"}}, {"limits": {"memory": "1Gi"}}, "limits"),
    "a limit that is no quantity": ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "much"}}, "limits"),
    "a port of another protocol": ({"ports": [{"port": 53}]}, {"ports": [{"port": 53, "protocol": "UDP"}]}, "ports[0]"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_the_server_or_others_write_is_no_difference(name: str) -> None:
    desired, live = SAME[name]
    assert difference(desired, live) is None


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_is_told_by_its_path(name: str) -> None:
    desired, live, path = DIFFERENT[name]
    assert difference(desired, live) == path
