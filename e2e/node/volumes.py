"""The data behind PersistentVolumes: a directory, or a filesystem of a fixed size in a file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kubernetes.utils import parse_quantity

from e2e.cluster.errors import ClusterError
from e2e.node.mounts import mounted_below, unmount

_SMALLEST = 4 * 2**20


def size_in_bytes(quantity: str) -> int:
    """The bytes of a quantity such as `64Mi`. Raises ClusterError for one too small for a filesystem."""
    size = int(parse_quantity(quantity))
    if size < _SMALLEST:
        raise ClusterError(f"a volume of {quantity} is too small for a filesystem: ask for 4Mi or more")
    return size


def make_directory(path: Path) -> None:
    """An empty directory of root's, as a new disk is; safe to call again."""
    path.mkdir(parents=True, exist_ok=True)


def make_limited(path: Path, size: int) -> None:
    """A filesystem of `size` bytes mounted at `path`; safe to call again."""
    make_directory(path)
    if mounted_below([path]):
        return
    image = _image(path)
    with image.open("wb") as file:
        file.truncate(size)
    # No blocks are held back for root, and no journal takes its share: the size is what a pod can write, nearly.
    _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(image))
    _run("mount", "-o", "loop", str(image), str(path))
    (path / "lost+found").rmdir()  # initdb and the like insist on an empty directory


def grow_limited(path: Path, size: int) -> None:
    """Make the filesystem at `path` larger, while it is in use. Raises ClusterError where there is none."""
    image = _image(path)
    if not image.exists() or size < image.stat().st_size:
        raise ClusterError(f"{path} is no limited volume that is smaller than {size} bytes")
    with image.open("r+b") as file:
        file.truncate(size)
    device = _run("losetup", "--noheadings", "--output", "NAME", "--associated", str(image)).strip()
    _run("losetup", "--set-capacity", device)
    _run("resize2fs", device)


def remove(path: Path) -> None:
    """Remove the data; safe to call again."""
    for point in mounted_below([path]):
        unmount(point)
    shutil.rmtree(path, ignore_errors=True)
    _image(path).unlink(missing_ok=True)


def _image(path: Path) -> Path:
    return path.with_name(f"{path.name}.img")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
