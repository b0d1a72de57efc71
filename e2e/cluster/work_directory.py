"""A temporary directory that is removed even when the process that made it is killed: by the next one that starts.

A lock that the kernel releases tells a directory in use from one that was left behind.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "sibyl-testcluster-"
# A directory younger than this may belong to a process that has not taken its lock yet.
_SETTLED_SECONDS = 60.0


class WorkDirectory:
    """A private directory (mode 0700) under the system's temporary directory."""

    def __init__(self, purpose: str, parent: Path | None = None) -> None:
        """Make the directory; `purpose` becomes a part of its name. Also removes what killed processes left."""
        parent = parent or Path(tempfile.gettempdir())
        remove_left_over(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-", dir=parent))
        self._lock = (self.path / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the directory and all in it. Safe to call again."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def remove_left_over(parent: Path, settled: float = _SETTLED_SECONDS) -> list[Path]:
    """Remove directories whose process is gone and that are older than `settled` seconds; returns those removed."""
    removed = []
    for directory in parent.glob(f"{_PREFIX}*"):
        try:
            if time.time() - directory.stat().st_mtime < settled:
                continue
            with (directory / "lock").open("a") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:  # in use, another user's, or removed by another process at this moment
            continue
        removed.append(directory)
    return removed
