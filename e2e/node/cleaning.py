"""Put the machine back as it was before the node: the one way, whether the node ended well or was killed.

Only what is recorded, or lies in the node's own directories, cgroups and chains, is touched. Every step can be done
again, so a cleaning that was itself killed is finished by the next.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from e2e.cluster.errors import ClusterError, WaitTimeoutError
from e2e.cluster.waiting import wait_until
from e2e.node import machine
from e2e.node.iptables import removal
from e2e.node.layout import BRIDGE, NETWORK, NodeLayout
from e2e.node.mounts import mounted_below, unmount
from e2e.node.state import State, read_state


def clean(layout: NodeLayout) -> bool:
    """Undo what the recorded node did; False where nothing is recorded. Whoever calls this holds the node's lock.

    Raises ClusterError, naming it, where something would not go; the record then stays for the next try.
    """
    state = read_state(layout.state)
    if state is None:
        return False
    sockets = _shim_sockets(layout)
    _end_programs(state)
    _end_pods(layout)
    for socket in sockets:
        socket.unlink(missing_ok=True)
    _unmount(layout, state)
    _remove_links()
    _remove_chains(state)
    _remove_cgroups()
    for name, value in state.sysctls.items():
        machine.set_sysctl(name, value)
    _remove_paths(layout, state)
    _remove_tree(layout.run)
    for path in layout.root.iterdir():
        if path != layout.state:  # the record goes last: without it nobody would finish what is killed half-way
            _remove_tree(path)
    _remove_tree(layout.root)
    return True


def _shim_sockets(layout: NodeLayout) -> list[Path]:
    """The sockets of the shims: containerd keeps them at a place of its own choice, and notes them with each task."""
    notes = layout.containerd_state.glob("io.containerd.runtime.v2.task/k8s.io/*/address")
    return [Path(note.read_text().strip().removeprefix("unix://")) for note in notes]


def _end_programs(state: State) -> None:
    """Killed programs end by their lifeline in a moment; this is for one whose lifeline was killed as well."""
    for pid, started in state.processes.values():
        if machine.start_time(pid) == started:
            _kill(pid)


def _end_pods(layout: NodeLayout) -> None:
    def ended() -> bool:
        running = [*machine.pod_processes(), *machine.shims(layout.containerd_socket)]
        for pid in running:
            _kill(pid)
        return not running

    wait_until(ended, what="the processes of the pods to end", timeout=30.0)


def _unmount(layout: NodeLayout, state: State) -> None:
    ours = [
        machine.NETWORK_NAMESPACES / name
        for name in machine.network_namespaces()
        if name.startswith("cni-") and name not in state.network_namespaces
    ]
    for point in mounted_below([layout.root, layout.run, *ours]):
        unmount(point)
    for namespace in ours:
        namespace.unlink(missing_ok=True)
    left = mounted_below([layout.root, layout.run])
    if left:
        raise ClusterError(f"still mounted: {', '.join(map(str, left))}; unmount it, then `python -m e2e.node --clean`")


def _remove_links() -> None:
    if machine.has_link(BRIDGE):
        for name in [*machine.bridge_ports(BRIDGE), BRIDGE]:
            # A port may go by itself in this moment, with the namespace of its pod.
            subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def _remove_chains(state: State) -> None:
    for program in machine.IPTABLES:
        kept = [chain.partition(" ")[2] for chain in state.chains if chain.startswith(f"{program} ")]
        rules = removal(machine.saved_rules(program), kept)
        if rules:
            _run([f"{program}-restore", "--noflush", "--wait", "10"], rules)


def _remove_cgroups() -> None:
    def removed() -> bool:
        for root in machine.pod_cgroups():
            for directory in sorted(path for path in [root, *root.rglob("*")] if path.is_dir())[::-1]:
                try:
                    directory.rmdir()
                except OSError:  # a process that has just been killed still counts for a moment
                    continue
        return not machine.pod_cgroups()

    try:
        wait_until(removed, what="the cgroups of the pods to go", timeout=10.0)
    except WaitTimeoutError as error:
        raise ClusterError(f"{error}: {', '.join(map(str, machine.pod_cgroups()))}") from error


def _remove_paths(layout: NodeLayout, state: State) -> None:
    for link in Path("/var/log/containers").glob("*"):
        if link.is_symlink() and layout.pod_logs in link.readlink().parents:
            link.unlink()
    for result in Path("/var/lib/cni/results").glob(f"{NETWORK}-*"):
        result.unlink()
    for path in reversed(machine.PATHS):
        if path not in state.paths:
            _remove_tree(Path(path))


def _remove_tree(path: Path) -> None:
    """Remove a directory, but never what is mounted in it."""
    if mounted_below([path]):
        raise ClusterError(f"{path} was not removed: something is mounted in it")
    shutil.rmtree(path, ignore_errors=True)


def _run(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()}")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
