"""Mounts below a directory, read from the kernel."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")


def mount_points(mountinfo: str) -> list[Path]:
    """The mount points in the text of /proc/self/mountinfo, in the order in which they were mounted."""
    return [Path(_unescaped(line.split(" ")[4])) for line in mountinfo.splitlines()]


def mounted_below(directories: Iterable[Path]) -> list[Path]:
    """The mount points at or below any of `directories`, the last mounted first: the order to unmount them in."""
    roots = list(directories)
    points = mount_points(_MOUNTINFO.read_text())
    return [point for point in reversed(points) if any(point.is_relative_to(root) for root in roots)]


def unmount(point: Path) -> None:
    """Unmount; where it is still in use, detach it, which the kernel completes with its last user."""
    if subprocess.run(["umount", point], capture_output=True, check=False).returncode != 0:
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _unescaped(text: str) -> str:
    """The kernel writes a blank, a tab, a newline and a backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)
