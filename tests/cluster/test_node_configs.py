"""The configuration files of the node: they parse, agree with each other, and share nothing with the machine."""

from __future__ import annotations

import ipaddress
import json
import tomllib
from pathlib import Path

import yaml

from e2e.cluster.certificates import KeyPair
from e2e.node import configs
from e2e.node.layout import ADDRESS, POD_RANGE, TINY_IMAGE, NodeLayout

LAYOUT = NodeLayout(root=Path("/node/root"), run=Path("/node/run"))
PAIR = KeyPair(Path("/node/kubelet.crt"), Path("/node/kubelet.key"))


def test_containerd_keeps_to_the_nodes_directories_and_its_own_sandbox_image() -> None:
    config = tomllib.loads(configs.containerd(LAYOUT))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    runtime = cri["containerd"]["runtimes"]["runc"]
    places = [config["root"], config["state"], config["grpc"]["address"], cri["cni"]["conf_dir"]]
    places += [runtime["options"]["Root"], config["plugins"]["io.containerd.internal.v1.opt"]["path"]]
    assert all(place.startswith("/node/") for place in places)
    assert cri["sandbox_image"] == TINY_IMAGE
    assert cri["restrict_oom_score_adj"] is True


def test_pods_get_addresses_behind_the_bridges_own() -> None:
    bridge, _portmap = json.loads(configs.cni(LAYOUT))["plugins"]
    ((addresses,),) = bridge["ipam"]["ranges"]
    assert addresses == {"subnet": POD_RANGE, "gateway": ADDRESS}
    assert ipaddress.ip_address(ADDRESS) in ipaddress.ip_network(POD_RANGE)


def test_the_kubelet_speaks_to_that_containerd_and_asks_who_calls() -> None:
    config = yaml.safe_load(configs.kubelet(LAYOUT, Path("/node/ca.crt"), PAIR))
    assert config["containerRuntimeEndpoint"] == f"unix://{LAYOUT.containerd_socket}"
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["clusterDNS"] == [ADDRESS]
    assert config["failCgroupV1"] is False


def test_kube_proxy_leaves_the_machines_connection_limits_alone() -> None:
    config = yaml.safe_load(configs.kube_proxy(Path("/node/kubeconfig"), 20001, 20002))
    assert config["conntrack"]["maxPerCore"] == 0
    assert (config["healthzBindAddress"], config["metricsBindAddress"]) == ("127.0.0.1:20001", "127.0.0.1:20002")


def test_dns_answers_for_the_domain_that_pods_search() -> None:
    kubelet = yaml.safe_load(configs.kubelet(LAYOUT, Path("/node/ca.crt"), PAIR))
    corefile = configs.corefile(Path("/node/kubeconfig"))
    assert f"kubernetes {kubelet['clusterDomain']} " in corefile
    assert f"bind {ADDRESS}\n" in corefile
