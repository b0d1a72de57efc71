"""What differs between a control plane on loopback and one with a real node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from e2e.cluster import server_flags
from e2e.cluster.certificates import KeyPair
from e2e.cluster.server_flags import FRONT_PROXY, Layout, NodeAccess

PAIR = KeyPair(Path("/c/x.crt"), Path("/c/x.key"))
PLAIN = Layout(
    directory=Path("/c"),
    etcd_port=20001,
    api_port=20002,
    authority=PAIR,
    server=PAIR,
    token_signing_key=Path("/c/sa.key"),
    token_public_key=Path("/c/sa.pub"),
    audit_policy=Path("/c/policy"),
    audit_log=Path("/c/log"),
)
WITH_NODE = replace(PLAIN, address="10.244.77.1", node_access=NodeAccess(PAIR, PAIR))


def test_a_plain_control_plane_is_on_loopback_and_has_no_endpoints() -> None:
    assert "--bind-address=127.0.0.1" in server_flags.kube_apiserver(PLAIN)
    assert "--endpoint-reconciler-type=none" in server_flags.kube_apiserver(PLAIN)
    controllers = server_flags.kube_controller_manager(PLAIN, Path("/c/kubeconfig"))
    assert any(flag.startswith("--controllers=*,-endpoints-controller") for flag in controllers)
    assert PLAIN.server_url == "https://127.0.0.1:20002"


def test_with_a_node_the_api_server_is_where_pods_reach_it_and_endpoints_are_published() -> None:
    flags = server_flags.kube_apiserver(WITH_NODE)
    assert {"--bind-address=10.244.77.1", "--advertise-address=10.244.77.1"} < set(flags)
    assert f"--requestheader-allowed-names={FRONT_PROXY}" in flags
    assert "--endpoint-reconciler-type=none" not in flags
    controllers = server_flags.kube_controller_manager(WITH_NODE, Path("/c/kubeconfig"))
    assert not any(flag.startswith("--controllers") for flag in controllers)
    assert "--horizontal-pod-autoscaler-sync-period=5s" in controllers
    assert WITH_NODE.server_url == "https://10.244.77.1:20002"
