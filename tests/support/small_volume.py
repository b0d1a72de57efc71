"""A file system of a few megabytes, for what happens when there is no more room. Mounting one needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.conditions import eventually


@dataclass
class SmallVolume:
    """A mounted directory."""

    directory: Path

    def fill(self) -> None:
        """Leave not a single block."""
        with self._ballast.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(65536))

    def make_room(self) -> None:
        """What enlarging the volume does."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.directory / "ballast"


@contextlib.contextmanager
def small_volume(directory: Path, megabytes: int) -> Iterator[SmallVolume]:
    """Mount `directory`, which is made. Skips, loudly, where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system: what a full volume does is not tested here")
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: what a full volume does is not tested here: {done.stderr}")
    try:
        yield SmallVolume(directory)
    finally:
        # A server that was killed is gone a moment before the last of its processes is.
        eventually(lambda: subprocess.run(["umount", str(directory)], capture_output=True, check=False).returncode == 0)
