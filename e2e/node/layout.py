"""Where everything of the node is. All of it is fixed, so that a later run finds what a killed one left behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.recipe import Group, Program

NODE_NAME = "node"
BRIDGE = "sibyl0"
NETWORK = "sibyl-node"
POD_RANGE = "10.244.77.0/24"
# The bridge's own address. The API server, the kubelet, DNS and the metrics server listen on it: pods reach it, and
# from outside this machine nobody does.
ADDRESS = "10.244.77.1"
KUBELET_PORT = 10250
TINY_IMAGE = "localhost/sibyl-node/tiny:1"
TINY = Group("the sandbox image's program", (Program("tiny", ".", 15),), module=Path(__file__).with_name("tiny"))


@dataclass(frozen=True)
class NodeLayout:
    """Directories of the one node that a machine can have: `root` on disk, `run` in memory."""

    root: Path = Path("/var/lib/sibyl-node")
    run: Path = Path("/run/sibyl-node")

    @property
    def lock(self) -> Path:
        """Held while a node is running; outside of what a cleaning removes."""
        return self.run.with_name(f"{self.run.name}.lock")

    @property
    def state(self) -> Path:
        """The record of what the machine was like before, and of what was started."""
        return self.root / "state.json"

    @property
    def config(self) -> Path:
        """Configuration files, certificates and kubeconfigs of the node's programs."""
        return self.root / "config"

    @property
    def logs(self) -> Path:
        """One log per program of the node."""
        return self.root / "logs"

    @property
    def cni(self) -> Path:
        """The directory of the one network configuration."""
        return self.config / "cni"

    @property
    def containerd_socket(self) -> Path:
        """containerd's socket."""
        return self.run / "containerd.sock"

    @property
    def containerd_state(self) -> Path:
        """containerd's state: one directory for each container that runs."""
        return self.run / "containerd"

    @property
    def kubelet_root(self) -> Path:
        """The kubelet's own directory; the volumes of pods are mounted below it."""
        return self.root / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """What containers have written."""
        return self.root / "pod-logs"

    @property
    def volumes(self) -> Path:
        """The data of PersistentVolumes."""
        return self.root / "volumes"
