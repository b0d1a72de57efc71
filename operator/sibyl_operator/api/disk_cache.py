"""The disk level of the runtime's caches, as a pod has it: a volume of its own, or more room in the one it has.

A pod's root file system is read-only, so the level needs a volume wherever its path is. It is an emptyDir: what it
holds survives the container, not the pod.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from sibyl_runtime.workspace import Workspace

CACHE_DIRECTORY: Final = "/var/cache/sibyl"
"""Where every pod has a volume; the data directory of the runtime."""
CACHE_BYTES: Final = 2**30
"""What that volume has room for without a disk level."""
# Below these a volume would hide what the image, the pod or the kernel has there.
_TAKEN: Final = (
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/sys",
    "/tmp", "/usr",
)  # fmt: skip
_ROOM: Final = 1.1
"""A volume that is as large as what may lie in it is full too early: it counts blocks and directories too."""


def disk_bytes(workspace: Workspace) -> int:
    """What the disk level may take on a volume; 0 without one."""
    level = workspace.caching.disk_level
    return 0 if level is None else int(level.max_bytes * _ROOM)


def own_volume(workspace: Workspace) -> str | None:
    """Where the disk level needs a volume of its own; None where it needs none."""
    level = workspace.caching.disk_level
    if level is None or level.path is None or _within(PurePosixPath(level.path), CACHE_DIRECTORY):
        return None
    return str(PurePosixPath(level.path))


def path_fault(path: str) -> str | None:
    """Why no volume can be mounted at `path`; None where one can."""
    if "${" in path:
        return "is a reference, and the pod needs a volume there: write the path out"
    place = PurePosixPath(path)
    if not place.is_absolute() or ".." in place.parts:
        return f"is {path}; a volume needs an absolute path, such as {CACHE_DIRECTORY}"
    if _within(place, CACHE_DIRECTORY):
        return None
    if ":" in path:
        return f"is {path}; Kubernetes mounts no volume where there is a colon: write {CACHE_DIRECTORY}"
    if any(_within(place, taken) for taken in _TAKEN) or _within(PurePosixPath(CACHE_DIRECTORY), str(place)):
        return f"is {path}, where a volume would hide files that the pod needs; write {CACHE_DIRECTORY}, or remove it"
    return None


def _within(place: PurePosixPath, directory: str) -> bool:
    return place.is_relative_to(directory)
