"""Kill a node with kill -9, and prove that the next start works and that the machine is then as it was before.

The node runs in a process of its own, as a test run that is killed would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.waiting import wait_until
from e2e.node import machine
from e2e.node.cleaning import clean
from e2e.node.layout import BRIDGE, NodeLayout
from e2e.node.mounts import mounted_below
from e2e.node.node import Node, running_node, take_lock
from e2e.node.requirements import use_system_programs
from e2e.node.self_check import start_pods
from e2e.node.state import observed

_ROOT = Path(__file__).parents[2]
# Starts pods, says so, and waits to be killed.
_VICTIM = """
import signal
from e2e.node.node import running_node
from e2e.node.self_check import start_pods
with running_node() as node:
    start_pods(node)
    print("pods run", flush=True)
    signal.pause()
"""


def check_recovery(out: Callable[[str], None] = print) -> int:
    """0 where a node that was killed leaves nothing that the next one does not put back; 1 otherwise, with what stays.

    The caller holds no lock. What an earlier node left behind is removed first: it is no part of the machine.
    """
    layout = NodeLayout()
    use_system_programs()
    with take_lock(layout):
        if clean(layout):
            out("an earlier node was killed: what it had left behind is gone now")
    before = traces(layout)
    with subprocess.Popen([sys.executable, "-c", _VICTIM], cwd=_ROOT, stdout=subprocess.PIPE, text=True) as victim:
        try:
            assert victim.stdout is not None
            if victim.stdout.readline() != "pods run\n":
                raise ClusterError("the node that was to be killed did not start")
            os.kill(victim.pid, signal.SIGKILL)
        finally:
            victim.kill()
    left = traces(layout)
    out(f"killed; {_counts(left)} are left")
    if not left["shims"]:
        raise ClusterError("the killed node left no container behind, so there was nothing to prove")
    started = time.monotonic()
    with running_node() as node:
        out(f"ok {time.monotonic() - started:5.1f} s  A node starts where another was killed")
        _pods_run_and_old_ones_are_gone(node)
        started = time.monotonic()
    out(f"ok {time.monotonic() - started:5.1f} s  It ends, and puts the machine back")
    return _compare(before, traces(layout), out)


def traces(layout: NodeLayout) -> dict[str, object]:
    """All that a node changes on its machine, as it is now."""
    state = asdict(observed())
    del state["processes"]
    return state | {
        "cgroups": [str(path) for path in machine.pod_cgroups()],
        "bridge": machine.has_link(BRIDGE),
        "mounts": [str(path) for path in mounted_below([layout.root, layout.run])],
        "shims": machine.shims(layout.containerd_socket),
        "directories": [str(path) for path in (layout.root, layout.run) if path.exists()],
    }


def _pods_run_and_old_ones_are_gone(node: Node) -> None:
    start_pods(node)
    pods = len(json.loads(node.kubectl("get", "pods", "--all-namespaces", "-o", "json").stdout)["items"])
    wait_until(
        lambda: len(machine.shims(node.layout.containerd_socket)) == pods,
        what=f"exactly one shim for each of {pods} pods",
    )


def _compare(before: dict[str, object], after: dict[str, object], out: Callable[[str], None]) -> int:
    different = [name for name in before if before[name] != after[name]]
    for name in different:
        out(f"FAILED {name} were {before[name]} and are {after[name]}")
    if not different:
        out(f"ok          The machine is as it was before the first: {', '.join(before)}")
    return 1 if different else 0


def _counts(found: dict[str, object]) -> str:
    return ", ".join(f"{len(value)} {name}" for name, value in found.items() if isinstance(value, list) and value)
