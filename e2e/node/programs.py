"""The programs of the node, started in the order in which they need each other; each with a log of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import StartError
from e2e.cluster.kubeconfig import Credentials, write_kubeconfig
from e2e.cluster.ports import free_ports
from e2e.cluster.processes import Child
from e2e.node import configs
from e2e.node.layout import ADDRESS, NODE_NAME, NodeLayout


class Programs:
    """Starts programs, tells `started` the id of each at once, and ends them in reverse order."""

    def __init__(self, layout: NodeLayout, started: Callable[[str, int], None]) -> None:
        self._layout = layout
        self._started = started
        self._children: list[Child] = []

    def run(self, program: Path | str, *arguments: str, name: str = "", cwd: Path | None = None) -> Child:
        """Start a program; its log is `NAME.log`."""
        name = name or Path(program).name
        child = Child([program, *arguments], log=self._layout.logs / f"{name}.log", name=name, cwd=cwd)
        self._children.append(child)
        self._started(name, child.pid)
        return child

    def check(self) -> None:
        """Raises StartError, with the end of its log, for a program that has ended by itself."""
        for child in self._children:
            if child.exit_code is not None:
                raise StartError(f"{child.name} exited with code {child.exit_code}; its log ends:\n{child.log_tail()}")

    def stop(self, grace: float = 5.0) -> None:
        """End all, the last started first. Safe to call again."""
        try:
            for child in reversed(self._children):
                child.stop(grace)
        finally:
            while self._children:
                self._children.pop().kill()


def run_containerd(programs: Programs, layout: NodeLayout) -> None:
    """containerd, with the network configuration that it reads."""
    layout.cni.mkdir(parents=True, exist_ok=True)
    (layout.cni / "10-bridge.conflist").write_text(configs.cni(layout))
    config = layout.config / "containerd.toml"
    config.write_text(configs.containerd(layout))
    programs.run("containerd", "--config", str(config))


def run_kubelet(programs: Programs, layout: NodeLayout, cluster: ControlPlane, binaries: Path) -> None:
    """The kubelet, as the user that the API server's node authoriser knows."""
    kubeconfig = _kubeconfig(layout, cluster, "kubelet", f"system:node:{NODE_NAME}", "system:nodes")
    config = layout.config / "kubelet.yaml"
    server = cluster.authority.server("kubelet", ADDRESS)
    config.write_text(configs.kubelet(layout, cluster.authority.pair.certificate, server))
    programs.run(
        binaries / "kubelet",
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={ADDRESS}",
        f"--root-dir={layout.kubelet_root}",
    )


def run_kube_proxy(programs: Programs, layout: NodeLayout, cluster: ControlPlane, binaries: Path) -> None:
    """kube-proxy, which makes the addresses of Services lead somewhere."""
    kubeconfig = _kubeconfig(layout, cluster, "kube-proxy", "system:kube-proxy")
    config = layout.config / "kube-proxy.yaml"
    config.write_text(configs.kube_proxy(kubeconfig, *free_ports(2)))
    programs.run(binaries / "kube-proxy", f"--config={config}")


def run_coredns(programs: Programs, layout: NodeLayout, cluster: ControlPlane, coredns: Path) -> None:
    """The cluster's DNS."""
    config = layout.config / "Corefile"
    config.write_text(configs.corefile(_kubeconfig(layout, cluster, "coredns", "coredns", "system:masters")))
    programs.run(coredns, "-conf", str(config))


def run_metrics_server(programs: Programs, layout: NodeLayout, cluster: ControlPlane, metrics_server: Path) -> int:
    """The server of the metrics API; returns its port on the node's address."""
    kubeconfig = _kubeconfig(layout, cluster, "metrics-server", "metrics-server", "system:masters")
    (port,) = free_ports(1, ADDRESS)
    programs.run(
        metrics_server,
        *(f"--{kind}kubeconfig={kubeconfig}" for kind in ("", "authentication-", "authorization-")),
        f"--bind-address={ADDRESS}",
        f"--secure-port={port}",
        f"--cert-dir={layout.config / 'metrics-server-certs'}",
        "--kubelet-insecure-tls",
        "--kubelet-preferred-address-types=InternalIP",
        # The resolution has to exceed the timeout of one request.
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    )
    return port


def _kubeconfig(layout: NodeLayout, cluster: ControlPlane, name: str, user: str, *groups: str) -> Path:
    authority = cluster.authority
    client = authority.client(name, user, groups)
    credentials = Credentials.of_key_pair(cluster.server, authority.pair, client)
    return write_kubeconfig(layout.config / f"{name}.kubeconfig", credentials)
