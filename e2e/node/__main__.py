"""`python -m e2e.node`: a cluster of one real node, until Ctrl-C. Needs root on Linux, and changes the machine."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType

from e2e.cluster.errors import ClusterError
from e2e.node.cleaning import clean
from e2e.node.layout import NodeLayout
from e2e.node.node import Node, running_node, take_lock
from e2e.node.recovery_check import check_recovery
from e2e.node.requirements import use_system_programs
from e2e.node.self_check import check_node


def main() -> int:
    """Exit codes: 0 done, 1 the node cannot run here or a check failed, 130 interrupted before it was ready."""
    options = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.clean:
            return _clean()
        if options.check_recovery:
            return check_recovery()
        return _serve(check=options.check)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted: {_what_is_left()}", file=sys.stderr)
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.node", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="start it, prove with small pods that it works, end it")
    choice.add_argument("--check-recovery", action="store_true", help="kill one with -9, start another, compare")
    choice.add_argument("--clean", action="store_true", help="put the machine back after a node that was killed")
    return parser.parse_args()


def _what_is_left() -> str:
    if NodeLayout().state.exists():
        return "the machine is not put back yet; `python -m e2e.node --clean` does it, and so does the next start"
    return "nothing is left running"


def _clean() -> int:
    use_system_programs()
    layout = NodeLayout()
    with take_lock(layout):
        found = clean(layout)
    print("the machine is as it was before the node" if found else "no node has left anything behind")
    return 0


def _serve(*, check: bool) -> int:
    started = time.monotonic()
    with running_node() as node:
        print(f"ready in {time.monotonic() - started:.1f} s", file=sys.stderr)
        if check:
            return check_node(node)
        _tell(node)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)
    return 0


def _tell(node: Node) -> None:
    socket = node.layout.containerd_socket
    lines = [
        f"{node.kubectl_program} --kubeconfig={node.kubeconfig} get pods --all-namespaces",
        f"ctr --address {socket} --namespace k8s.io images import IMAGE.tar   # images come from archives alone",
        f"logs: {', '.join(sorted({str(path.parent) for path in node.logs.values()}))}",
        "Ctrl-C ends it and puts the machine back",
    ]
    print("\n".join(lines), file=sys.stderr)
    print(node.kubeconfig, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
