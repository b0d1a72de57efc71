"""The command lines of the control plane's programs, as pure functions of where things are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.certificates import KeyPair

SERVICE_RANGE = "10.96.0.0/16"
# The API server insists on an advertised address that is not loopback. Nothing may ever connect to this one:
# it is reserved for documentation, and no endpoints are published for it.
_ADVERTISED_ADDRESS = "192.0.2.1"


FRONT_PROXY = "front-proxy"


@dataclass(frozen=True)
class NodeAccess:
    """What a control plane with real nodes has beyond the plain one.

    `kubelet_client` is shown to kubelets, `front_proxy` (its common name is `FRONT_PROXY`) to aggregated API servers.
    """

    kubelet_client: KeyPair
    front_proxy: KeyPair


@dataclass(frozen=True)
class Layout:
    """Ports and files of one control plane. The API server is on `address`, all else on 127.0.0.1."""

    directory: Path
    etcd_port: int
    api_port: int
    authority: KeyPair
    server: KeyPair
    token_signing_key: Path
    token_public_key: Path
    audit_policy: Path
    audit_log: Path
    address: str = "127.0.0.1"
    node_access: NodeAccess | None = None

    @property
    def server_url(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.api_port}"

    @property
    def etcd_url(self) -> str:
        """etcd's URL for clients."""
        return f"http://127.0.0.1:{self.etcd_port}"


def etcd(layout: Layout) -> list[str]:
    """Arguments of etcd. Nothing is synced to disk: the data ends with the test."""
    return [
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={layout.etcd_url}",
        f"--advertise-client-urls={layout.etcd_url}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def kube_apiserver(layout: Layout) -> list[str]:
    """Arguments of the API server: RBAC and the default admission plugins as in production, plus an audit log."""
    return [
        f"--etcd-servers={layout.etcd_url}",
        f"--bind-address={layout.address}",
        f"--secure-port={layout.api_port}",
        *_api_server_reach(layout),
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--tls-cert-file={layout.server.certificate}",
        f"--tls-private-key-file={layout.server.key}",
        f"--client-ca-file={layout.authority.certificate}",
        f"--service-account-key-file={layout.token_public_key}",
        f"--service-account-signing-key-file={layout.token_signing_key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        # A rotated log would hide the oldest events from a test; a session writes far less than this many megabytes.
        "--audit-log-maxsize=4096",
        f"--cert-dir={layout.directory / 'apiserver-certs'}",
    ]


def _api_server_reach(layout: Layout) -> list[str]:
    """Who reaches the API server, and whom it reaches: nobody but its clients, or the pods and kubelets of a node."""
    access = layout.node_access
    if access is None:
        return [f"--advertise-address={_ADVERTISED_ADDRESS}", "--endpoint-reconciler-type=none"]
    return [
        f"--advertise-address={layout.address}",
        f"--kubelet-client-certificate={access.kubelet_client.certificate}",
        f"--kubelet-client-key={access.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        # One authority signs both kinds of client, so without the name any client could speak for any other.
        f"--requestheader-client-ca-file={layout.authority.certificate}",
        f"--requestheader-allowed-names={FRONT_PROXY}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={access.front_proxy.certificate}",
        f"--proxy-client-key-file={access.front_proxy.key}",
    ]


def kube_controller_manager(layout: Layout, kubeconfig: Path) -> list[str]:
    """Arguments of the controller-manager: the default controllers, with short periods for tests."""
    return [
        *_client_flags(layout, kubeconfig, "controller-manager"),
        f"--service-account-private-key-file={layout.token_signing_key}",
        f"--root-ca-file={layout.authority.certificate}",
        f"--cluster-signing-cert-file={layout.authority.certificate}",
        f"--cluster-signing-key-file={layout.authority.key}",
        "--use-service-account-credentials=true",
        *_controllers(layout),
        "--horizontal-pod-autoscaler-downscale-stabilization=10s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=2s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def _controllers(layout: Layout) -> list[str]:
    if layout.node_access is not None:
        return ["--horizontal-pod-autoscaler-sync-period=5s"]
    return [
        # Pods of a process node have loopback addresses, which the API refuses in endpoints: these controllers could
        # only write a warning on every Service, over and over.
        "--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller",
        "--horizontal-pod-autoscaler-sync-period=2s",
    ]


def kube_scheduler(layout: Layout, kubeconfig: Path) -> list[str]:
    """Arguments of the scheduler."""
    return _client_flags(layout, kubeconfig, "scheduler")


def _client_flags(layout: Layout, kubeconfig: Path, name: str) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--secure-port=0",  # its own HTTPS endpoint serves nobody here, and its default port would collide
        f"--cert-dir={layout.directory / f'{name}-certs'}",
    ]
