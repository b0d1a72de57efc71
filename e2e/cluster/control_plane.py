"""A real Kubernetes control plane on loopback: etcd, API server, controller-manager and, if asked for, the scheduler.

It needs no root, touches nothing outside one temporary directory, and is gone when its owner is gone: stopped in
reverse order on the way out, killed by the kernel's closing of a pipe when the owner is killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from e2e.cluster import server_flags
from e2e.cluster.audit import POLICY, AuditEvent, read_events
from e2e.cluster.binaries import ensure_binaries, missing
from e2e.cluster.build import Progress
from e2e.cluster.certificates import CertificateAuthority, signing_key
from e2e.cluster.cluster import Cluster
from e2e.cluster.errors import ClusterError, StartError
from e2e.cluster.existing_cluster import ExistingCluster
from e2e.cluster.kube_rest import ApiError, ApiUnreachableError, KubeRest
from e2e.cluster.kubeconfig import Credentials, write_kubeconfig
from e2e.cluster.ports import free_ports
from e2e.cluster.processes import Child
from e2e.cluster.server_flags import FRONT_PROXY, Layout, NodeAccess
from e2e.cluster.waiting import wait_until
from e2e.cluster.work_directory import WorkDirectory

_ATTEMPTS = 3
_PORT_TAKEN = "address already in use"
_STOP_GRACE_SECONDS = 5.0


def cluster_from_environment(
    *, scheduler: bool = False, progress: Progress | None = None, environment: Mapping[str, str] = os.environ
) -> Cluster:
    """The cluster of $KUBECONFIG where USE_EXISTING_CLUSTER is `1` or `true`, otherwise a control plane of our own."""
    if environment.get("USE_EXISTING_CLUSTER", "").lower() in ("1", "true"):
        return ExistingCluster(environment=environment, progress=progress)
    return ControlPlane(scheduler=scheduler, progress=progress)


class ControlPlane(Cluster):
    """A control plane of our own: `with ControlPlane() as cluster: cluster.kubectl("get", "namespaces")`."""

    def __init__(
        self,
        *,
        scheduler: bool = False,
        progress: Progress | None = None,
        binaries: Path | None = None,
        node_address: str | None = None,
        parent: Path | None = None,
    ) -> None:
        """`binaries` names a directory of programs; by default `ensure_binaries(progress)` finds or builds them.

        With a `node_address`, one of this machine's that pods can reach, the API server listens there and speaks to
        kubelets; without one it is on loopback, and there are no endpoints. `parent` is where its directory is made.
        """
        super().__init__()
        self._scheduler = scheduler
        self._progress = progress
        self._binaries = binaries
        self._node_address = node_address
        self._parent = parent
        self._authority: CertificateAuthority | None = None
        self._children: list[Child] = []

    def start(self) -> None:
        """Start all programs; returns when pods can be created in the namespace `default`.

        Raises BuildError, or StartError with the end of the log of the program that failed.
        """
        if self._children:
            raise ClusterError("this control plane is already running")
        binaries = self._ready_binaries()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start_once(binaries)
                return
            except StartError as error:
                self.stop()
                if _PORT_TAKEN not in str(error) or attempt == _ATTEMPTS:
                    raise

    def stop(self) -> None:
        """End the programs in reverse order and remove the directory. A Ctrl-C meanwhile only makes it quicker."""
        try:
            for child in reversed(self._children):
                child.stop(_STOP_GRACE_SECONDS)
        finally:
            while self._children:
                self._children.pop().kill()
            if self._work is not None:
                self._work.remove()
                self._work = self._authority = None

    @property
    def kubectl_program(self) -> Path:
        """The kubectl that was built with the cluster."""
        return self._ready_binaries() / "kubectl"

    @property
    def authority(self) -> CertificateAuthority:
        """Signs further certificates of this cluster while it runs."""
        if self._authority is None:
            raise ClusterError("the cluster is not running: use it inside `with`")
        return self._authority

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by program name."""
        return {child.name: child.pid for child in self._children}

    def audit_events(self, start: int = 0) -> Iterator[AuditEvent]:
        """See Cluster.audit_events."""
        return read_events(self._audit_log, start)

    def audit_position(self) -> int:
        """See Cluster.audit_position."""
        return self._audit_log.stat().st_size

    @property
    def _audit_log(self) -> Path:
        return self.directory / "audit.log"

    def _ready_binaries(self) -> Path:
        if self._binaries is None:
            self._binaries = ensure_binaries(self._progress)
        if self._scheduler and missing(self._binaries, ["kube-scheduler"]):
            raise StartError(f"{self._binaries} has no kube-scheduler; unset KUBEBUILDER_ASSETS to have one built")
        return self._binaries

    def _start_once(self, binaries: Path) -> None:
        self._work = WorkDirectory("control-plane", self._parent)
        authority = self._authority = CertificateAuthority(self._work.path)
        layout = _layout(self._work.path, authority, self._node_address)
        layout.audit_policy.write_text(POLICY)
        admin = Credentials.of_key_pair(
            layout.server_url, authority.pair, authority.client("admin", "admin", ["system:masters"])
        )
        write_kubeconfig(self.kubeconfig, admin)
        self._run(binaries / "etcd", server_flags.etcd(layout))
        self._run(binaries / "kube-apiserver", server_flags.kube_apiserver(layout))
        with KubeRest(admin, timeout=5.0) as api:
            self._wait_for("the API server's /readyz", lambda: api.get_text("/readyz"))
            # Not earlier: both exit when they find no API server that is ready.
            self._run_client(binaries, "kube-controller-manager", layout, authority)
            if self._scheduler:
                self._run_client(binaries, "kube-scheduler", layout, authority)
            # Made by the controller-manager, and without it no pod can be created.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._wait_for("the first ServiceAccount", lambda: api.get(account))

    def _run_client(self, binaries: Path, name: str, layout: Layout, authority: CertificateAuthority) -> None:
        user = f"system:{name}"
        credentials = Credentials.of_key_pair(layout.server_url, authority.pair, authority.client(name, user))
        kubeconfig = write_kubeconfig(layout.directory / f"{name}.kubeconfig", credentials)
        flags = server_flags.kube_scheduler if name == "kube-scheduler" else server_flags.kube_controller_manager
        self._run(binaries / name, flags(layout, kubeconfig))

    def _run(self, program: Path, arguments: list[str]) -> None:
        log = self.directory / f"{program.name}.log"
        self._children.append(Child([program, *arguments], log=log))

    def _wait_for(self, what: str, answer: Callable[[], object]) -> None:
        def answered() -> bool:
            self._check_children()
            try:
                answer()
            except (ApiError, ApiUnreachableError):  # not up yet, not ready yet, or not made yet
                return False
            return True

        wait_until(answered, what=what, timeout=90.0)

    def _check_children(self) -> None:
        for child in self._children:
            if child.exit_code is not None:
                raise StartError(f"{child.name} exited with code {child.exit_code}; its log ends:\n{child.log_tail()}")


def _layout(directory: Path, authority: CertificateAuthority, node_address: str | None) -> Layout:
    address = node_address or "127.0.0.1"
    (etcd_port,), (api_port,) = free_ports(1), free_ports(1, address)
    private, public = signing_key(directory)
    return Layout(
        directory=directory,
        etcd_port=etcd_port,
        api_port=api_port,
        authority=authority.pair,
        server=authority.server("apiserver", address),
        token_signing_key=private,
        token_public_key=public,
        audit_policy=directory / "audit-policy.yaml",
        audit_log=directory / "audit.log",
        address=address,
        node_access=_node_access(authority) if node_address else None,
    )


def _node_access(authority: CertificateAuthority) -> NodeAccess:
    return NodeAccess(
        kubelet_client=authority.client("kubelet-client", "kube-apiserver", ["system:masters"]),
        front_proxy=authority.client(FRONT_PROXY, FRONT_PROXY),
    )
