"""A real Kubernetes node on this machine: containers, Services, DNS, metrics, volumes. Needs root on Linux.

`with running_node() as node: node.kubectl("get", "pods", "-A")`. A machine has one at a time. However it ends, the
machine is put back: at once, or, after a kill -9, by the next start or by `python -m e2e.node --clean`.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from e2e.cluster.audit import AuditEvent
from e2e.cluster.binaries import ensure_binaries, ensure_group, ensure_tool
from e2e.cluster.build import Progress
from e2e.cluster.cluster import Cluster
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import ClusterError
from e2e.cluster.recipe import NODE
from e2e.cluster.waiting import wait_until
from e2e.node import objects, volumes
from e2e.node.cleaning import clean
from e2e.node.image_archive import write_image_archive
from e2e.node.layout import ADDRESS, BRIDGE, NODE_NAME, POD_RANGE, TINY, TINY_IMAGE, NodeLayout
from e2e.node.machine import set_sysctl
from e2e.node.programs import (
    Programs,
    run_containerd,
    run_coredns,
    run_kube_proxy,
    run_kubelet,
    run_metrics_server,
)
from e2e.node.requirements import ensure_requirements
from e2e.node.state import State, observed, write_state

_ROOT = Path(__file__).parents[2]


@contextmanager
def running_node(progress: Progress | None = None) -> Iterator[Node]:
    """A node that is ready for pods, until the end of the block. See `Node.start` for what it raises."""
    with Node(progress=progress) as node:
        yield node


class Node(Cluster):
    """A cluster of one real node. Everything of `Cluster`, and images, volumes, tools and logs."""

    def __init__(self, *, progress: Progress | None = None, layout: NodeLayout | None = None) -> None:
        """`progress` receives lines for a person (default: stderr)."""
        super().__init__()
        self.layout = layout or NodeLayout()
        self._report = progress or _to_stderr
        self._progress = progress
        self._lock: IO[str] | None = None
        self._state: State | None = None
        self._programs = Programs(self.layout, self._started)
        self._control_plane = ControlPlane(
            scheduler=True, progress=progress, node_address=ADDRESS, parent=self.layout.root
        )

    def start(self) -> None:
        """Start everything; returns when pods can run, names resolve and the metrics API answers.

        What a killed run left behind is put back first, missing Debian packages are installed, and missing programs
        are built. Raises RequirementsError, BuildError, StartError, or ClusterError where a node runs already.
        """
        ensure_requirements(progress=self._report, traces_are_ours=self.layout.state.exists())
        self._lock = take_lock(self.layout)
        if clean(self.layout):
            self._report("an earlier node was killed: what it had left behind is gone now")
        ensure_requirements(progress=self._report)
        ensure_binaries(self._progress)
        binaries = ensure_group(NODE, self._progress)
        tiny = ensure_group(TINY, self._progress) / "tiny"
        coredns, metrics_server = (ensure_tool(name, self._progress) for name in ("coredns", "metrics-server"))
        self._prepare()
        run_containerd(self._programs, self.layout)
        self._wait("containerd's socket", self.layout.containerd_socket.is_socket)
        self.load_image(write_image_archive(self.work / "tiny.tar", tiny, TINY_IMAGE))
        self._control_plane.start()
        for name, pid in self._control_plane.pids.items():
            self._started(name, pid)
        run_kubelet(self._programs, self.layout, self._control_plane, binaries)
        run_kube_proxy(self._programs, self.layout, self._control_plane, binaries)
        run_coredns(self._programs, self.layout, self._control_plane, coredns)
        port = run_metrics_server(self._programs, self.layout, self._control_plane, metrics_server)
        self._run_provisioner()
        self.apply(json.dumps(_list([*objects.storage_classes(), *objects.metrics_api(port)])))
        self._wait_until_ready()

    def stop(self) -> None:
        """End everything and put the machine back. Safe to call again, and after a failed start."""
        if self._lock is None:
            return
        try:
            self._programs.stop()
        finally:
            try:
                self._control_plane.stop()
            finally:
                if self._state is not None:
                    clean(self.layout)
                    self._state = None
                self._lock.close()
                self._lock = None

    @property
    def directory(self) -> Path:
        """See Cluster.directory."""
        return self._control_plane.directory

    @property
    def kubectl_program(self) -> Path:
        """The kubectl that was built with the cluster."""
        return self._control_plane.kubectl_program

    @property
    def address(self) -> str:
        """The node's address: reachable from this machine and from pods."""
        return ADDRESS

    @property
    def work(self) -> Path:
        """A directory for whoever uses the node; it goes with it."""
        return self.layout.root / "work"

    @property
    def logs(self) -> dict[str, Path]:
        """The log of each program, by name: containerd, kubelet, kube-apiserver and so on."""
        found = [*self.layout.logs.glob("*.log"), *self.directory.glob("kube-*.log"), *self.directory.glob("etcd.log")]
        return {path.stem: path for path in sorted(found)}

    def save_logs(self, directory: Path) -> None:
        """Copy what is needed to understand a failure: programs' and containers' logs, all objects, the events.

        The node's own copies go with it, so this is called before its end.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for name, path in self.logs.items():
            shutil.copyfile(path, directory / f"{name}.log")
        shutil.copytree(self.layout.pod_logs, directory / "pods", dirs_exist_ok=True)
        views = {"events": ["events", "--sort-by=.lastTimestamp"], "objects": ["all,pvc,pv,configmap", "-o", "yaml"]}
        for name, view in views.items():
            done = self.kubectl("get", "--all-namespaces", *view, check=False)
            (directory / f"{name}.txt").write_text(done.stdout + done.stderr)

    def audit_events(self, start: int = 0) -> Iterator[AuditEvent]:
        """See Cluster.audit_events."""
        return self._control_plane.audit_events(start)

    def audit_position(self) -> int:
        """See Cluster.audit_position."""
        return self._control_plane.audit_position()

    def tool(self, name: str) -> Path:
        """The path of a program of `e2e.cluster.recipe.TOOLS`, such as `helm` or `k6`; built where it is not yet."""
        return ensure_tool(name, self._progress)

    def load_image(self, archive: Path) -> list[str]:
        """Import a docker-archive or OCI tar, so that pods can use it; returns the names of the images in it."""
        done = self._ctr("images", "import", str(archive))
        names = [line.split()[1] for line in done.splitlines() if line.startswith("unpacking ")]
        if not names:
            raise ClusterError(f"{archive} holds no image with a name; containerd printed: {done.strip()}")
        return names

    def images(self) -> list[str]:
        """The names of all images on the node."""
        return self._ctr("images", "list", "--quiet").split()

    def grow_volume(self, namespace: str, claim: str, size: str) -> None:
        """Make the volume behind a claim of the class `local-limited` larger while it is used; `size` as `64Mi`."""
        found = self.kubectl("--namespace", namespace, "get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}").stdout
        volumes.grow_limited(self.layout.volumes / found, volumes.size_in_bytes(size))

    def _started(self, name: str, pid: int) -> None:
        if self._state is None:
            raise ClusterError(f"{name} was started before the machine's state was recorded")
        self._state = self._state.with_process(name, pid)
        write_state(self.layout.state, self._state)

    def _prepare(self) -> None:
        """Record the machine as it is, then make the first changes."""
        for directory in (self.layout.root, self.layout.logs, self.layout.config, self.work, self.layout.volumes):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._state = observed()
        write_state(self.layout.state, self._state)
        self.layout.run.mkdir(mode=0o711, exist_ok=True)
        length = POD_RANGE.partition("/")[2]
        # Made before the first pod would make it: the API server and DNS listen on its address.
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{ADDRESS}/{length}", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        set_sysctl("net/ipv4/ip_forward", "1")

    def _run_provisioner(self) -> None:
        arguments = ["-m", "e2e.node.provisioner", str(self.kubeconfig), str(self.layout.volumes)]
        self._programs.run(sys.executable, *arguments, name="provisioner", cwd=_ROOT)

    def _wait_until_ready(self) -> None:
        def ready() -> bool:
            wanted = "--for=condition=Ready"
            return self.kubectl("wait", f"node/{NODE_NAME}", wanted, "--timeout=1s", check=False).returncode == 0

        def metrics() -> bool:
            return self.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1", check=False).returncode == 0

        self._wait("the node to be Ready", ready)
        self._wait("DNS", lambda: _answers(ADDRESS, "kubernetes.default.svc.cluster.local"))
        self._wait("the metrics API", metrics)

    def _wait(self, what: str, probe: Callable[[], bool]) -> None:
        def checked() -> bool:
            self._programs.check()
            return probe()

        wait_until(checked, what=what, timeout=60.0, interval=0.1)

    def _ctr(self, *arguments: str) -> str:
        return _run("ctr", "--address", str(self.layout.containerd_socket), "--namespace", "k8s.io", *arguments)


def take_lock(layout: NodeLayout) -> IO[str]:
    """The right to have a node on this machine, until it is closed or this process ends. Raises ClusterError."""
    try:
        lock = layout.lock.open("a")
    except OSError as error:
        raise ClusterError(f"{layout.lock} cannot be written ({error.strerror}): a node needs root on Linux") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ClusterError("a node is running on this machine already; end it first, there can be only one") from None
    return lock


def _answers(server: str, name: str) -> bool:
    """Whether a DNS server knows the address of a name."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1.0)
        try:
            client.connect((server, 53))
            client.send(b"\0\1\1\0\0\1\0\0\0\0\0\0" + question)
            answer = client.recv(512)
        except OSError:
            return False
    return answer[3] & 0x0F == 0 and answer[7] > 0


def _list(items: list[objects.Manifest]) -> objects.Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
