"""The data behind PersistentVolumes: a directory, or a filesystem of a fixed size."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kubernetes.utils import parse_quantity

from e2e.cluster.errors import ClusterError
from e2e.node.mounts import mounted_below, unmount

_SMALLEST = 2**20


def size_in_bytes(quantity: str) -> int:
    """The bytes of a quantity such as `64Mi`. Raises ClusterError for one too small for a filesystem."""
    size = int(parse_quantity(quantity))
    if size < _SMALLEST:
        raise ClusterError(f"a volume of {quantity} is too small for a filesystem: ask for 1Mi or more")
    return size


def make_directory(path: Path) -> None:
    """An empty directory of root's, as a new disk is; safe to call again."""
    path.mkdir(parents=True, exist_ok=True)


def make_limited(path: Path, size: int) -> None:
    """A filesystem of `size` bytes in memory, mounted at `path`; safe to call again.

    In memory, because a disk's own filesystem cannot be grown without CAP_SYS_RESOURCE, which containers lack. What is
    written counts as memory of the pod that writes it.
    """
    make_directory(path)
    if not mounted_below([path]):
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "volume", str(path))


def grow_limited(path: Path, size: int) -> None:
    """Make the filesystem at `path` `size` bytes large, while it is in use. Raises ClusterError where there is none."""
    if not mounted_below([path]):
        raise ClusterError(f"{path} is no limited volume: its claim must have the class `local-limited`")
    _run("mount", "-o", f"remount,size={size}", str(path))


def remove(path: Path) -> None:
    """Remove the data; safe to call again."""
    for point in mounted_below([path]):
        unmount(point)
    shutil.rmtree(path, ignore_errors=True)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
