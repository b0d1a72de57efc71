"""What a node changes on its machine, read from the kernel: settings, chains, cgroups, links and paths."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from e2e.node.iptables import cluster_chains

# Set by kubelet, kube-proxy and the bridge plugin.
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
)
# Made by the node's programs at places that are written into them. Deeper ones last.
PATHS = (
    "/var/lib/cni",
    "/var/lib/cni/results",
    "/var/lib/kubelet",
    "/var/lib/kubelet/device-plugins",
    "/var/log/containers",
    "/var/log/pods",
    "/run/containerd",
    "/run/containerd/s",
    "/run/netns",
)
IPTABLES = ("iptables", "ip6tables")
NETWORK_NAMESPACES = Path("/run/netns")
_CGROUPS = Path("/sys/fs/cgroup")
_SYSCTL = Path("/proc/sys")


def sysctls() -> dict[str, str]:
    """The values of `SYSCTLS` that this kernel has."""
    return {name: (_SYSCTL / name).read_text().strip() for name in SYSCTLS if (_SYSCTL / name).exists()}


def set_sysctl(name: str, value: str) -> None:
    """Write a setting."""
    (_SYSCTL / name).write_text(value)


def saved_rules(program: str) -> str:
    """The output of `iptables-save` or `ip6tables-save`; empty where the kernel has no such tables."""
    return subprocess.run([f"{program}-save"], capture_output=True, text=True, check=False).stdout


def chains() -> list[str]:
    """The KUBE-* and CNI-* chains there are, as `PROGRAM TABLE CHAIN`."""
    return [
        f"{program} {table} {name}"
        for program in IPTABLES
        for table, names in cluster_chains(saved_rules(program)).items()
        for name in names
    ]


def pod_cgroups() -> list[Path]:
    """The directory `kubepods` of each cgroup hierarchy that has one (version 1: several; version 2: one)."""
    return [path for path in [_CGROUPS / "kubepods", *_CGROUPS.glob("*/kubepods")] if path.is_dir()]


def pod_processes() -> set[int]:
    """The processes of all pods."""
    found: set[int] = set()
    for root in pod_cgroups():
        for listing in root.rglob("cgroup.procs"):
            found.update(_numbers(listing))
    return found


def shims(socket: Path) -> list[int]:
    """The processes that hold the containers of the containerd with this socket."""
    return [
        pid
        for pid, arguments in _command_lines()
        if arguments[0].endswith("containerd-shim-runc-v2") and str(socket) in arguments
    ]


def start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot: with its id, that names it for ever. None where there is none."""
    try:
        # The name, in brackets, may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def network_namespaces() -> list[str]:
    """The names of the network namespaces that are kept by a mount."""
    return sorted(path.name for path in NETWORK_NAMESPACES.glob("*"))


def bridge_ports(bridge: str) -> list[str]:
    """The links that are plugged into a bridge."""
    return sorted(path.name for path in Path(f"/sys/class/net/{bridge}/brif").glob("*"))


def has_link(name: str) -> bool:
    """Whether there is a network link of this name."""
    return Path(f"/sys/class/net/{name}").exists()


def _numbers(listing: Path) -> list[int]:
    try:
        return [int(line) for line in listing.read_text().split()]
    except OSError:  # the cgroup went in this moment
        return []


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            yield int(entry.name), arguments
