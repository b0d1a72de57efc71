"""A temporary directory that is removed even when the process that made it is killed: by the next one that starts.

A lock that the kernel releases tells a directory in use from one that was left behind. An interrupt may strike between
any two steps of its owner, so the end of the process looks after it once more.
"""

from __future__ import annotations

import atexit
import fcntl
import secrets
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
        self.path = parent / f"{_PREFIX}{purpose}-{secrets.token_hex(4)}"
        atexit.register(_remove, self.path)
        self.path.mkdir(mode=0o700)
        self._lock = (self.path / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the directory and all in it. Safe to call again."""
        _remove(self.path)
        self._lock.close()


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


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
