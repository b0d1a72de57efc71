"""`python -m e2e.cluster`: a control plane in one command, until Ctrl-C. With --build-only, just its programs."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType

from e2e.cluster.binaries import ensure_binaries
from e2e.cluster.control_plane import cluster_from_environment
from e2e.cluster.errors import ClusterError


def main() -> int:
    """Exit codes: 0 done, 1 the cluster could not be made, 130 interrupted before it was ready."""
    options = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.build_only:
            print(ensure_binaries())
            return 0
        return _serve(scheduler=options.scheduler)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is left running", file=sys.stderr)
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    parser.add_argument("--build-only", action="store_true", help="find or build the programs, print where they are")
    parser.add_argument("--scheduler", action="store_true", help="also run kube-scheduler (it has no nodes to use)")
    return parser.parse_args()


def _serve(*, scheduler: bool) -> int:
    started = time.monotonic()
    with cluster_from_environment(scheduler=scheduler) as cluster:
        print(f"ready in {time.monotonic() - started:.1f} s; Ctrl-C ends it", file=sys.stderr)
        print(f"{cluster.kubectl_program} --kubeconfig={cluster.kubeconfig} get namespaces", file=sys.stderr)
        print(cluster.kubeconfig, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
