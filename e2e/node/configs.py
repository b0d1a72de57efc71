"""The configuration files of the node's programs, as pure functions of where things are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.certificates import KeyPair
from e2e.node.layout import ADDRESS, BRIDGE, KUBELET_PORT, NETWORK, NODE_NAME, POD_RANGE, TINY_IMAGE, NodeLayout

CNI_PROGRAMS = Path("/usr/lib/cni")
CLUSTER_DOMAIN = "cluster.local"


def containerd(layout: NodeLayout) -> str:
    """containerd's configuration: nothing is shared with a containerd of the machine's own."""
    return f"""\
version = 2
root = "{layout.root}/containerd"
state = "{layout.containerd_state}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{TINY_IMAGE}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE nobody may lower an OOM score, and every pod would end as it starts.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{layout.cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{layout.run}/runc"
"""


def cni(layout: NodeLayout) -> str:
    """The network of the pods: one bridge, addresses of one range, host ports. It enforces no NetworkPolicy."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.root / "addresses"),
            "ranges": [[{"subnet": POD_RANGE, "gateway": ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "0.4.0", "name": NETWORK, "plugins": plugins}, indent=2)


def kubelet(layout: NodeLayout, authority: Path, server: KeyPair) -> str:
    """The KubeletConfiguration. On a machine that is shared, disk and memory must be nearly gone before it evicts."""
    document: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": KUBELET_PORT,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(server.certificate),
        "tlsPrivateKeyFile": str(server.key),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "maxOpenFiles": 20000,
        "oomScoreAdj": 0,
        "clusterDNS": [ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "podLogsDir": str(layout.pod_logs),
        "volumePluginDir": str(layout.root / "volume-plugins"),
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
    }
    return yaml.safe_dump(document, sort_keys=False)


def kube_proxy(kubeconfig: Path, healthz_port: int, metrics_port: int) -> str:
    """The KubeProxyConfiguration: iptables, and the machine's connection tracking limits left alone."""
    document: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": NODE_NAME,
        "bindAddress": ADDRESS,
        "clusterCIDR": POD_RANGE,
        "healthzBindAddress": f"127.0.0.1:{healthz_port}",
        "metricsBindAddress": f"127.0.0.1:{metrics_port}",
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "10s"},
    }
    return yaml.safe_dump(document, sort_keys=False)


def corefile(kubeconfig: Path) -> str:
    """CoreDNS: the names of Services and pods, and for the rest whomever this machine asks."""
    return f"""\
.:53 {{
    bind {ADDRESS}
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig} testcluster
        pods insecure
        ttl 1
    }}
    forward . /etc/resolv.conf
}}
"""
