"""Runs programs in the files of an image as a pod does: as its user, on a read-only root, with its environment alone.

No container runtime is needed: a mount namespace and chroot. It needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.images.archive import read_config, unpack

# Read-only root, and tmpfs where a pod mounts volumes. $1 is the tree, $2 the user, then directories up to `--`.
_ENTER = """
set -e
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
mount --options remount,bind,ro "$root"
mount --types proc proc "$root/proc"
while [ "$1" != -- ]; do mount --types tmpfs --options mode=1777 tmpfs "$root$1"; shift; done
shift
mount --bind /dev "$root/dev"
exec chroot --userspec="$user" "$root" "$@"
"""


@dataclass(frozen=True)
class Result:
    """What a program in a container did."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Container:
    """The files and the configuration of an image. `writable` are the directories where a pod mounts volumes."""

    root: Path
    config: Mapping[str, Any]
    writable: tuple[str, ...] = field(default=("/tmp",))

    def run(self, *command: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> Result:
        """Run `command`, which is looked up on the image's PATH, with the image's environment and `env`."""
        variables = [*self.config["config"]["Env"], *(f"{name}={value}" for name, value in (env or {}).items())]
        directory = self.config["config"].get("WorkingDir") or "/"
        done = subprocess.run(
            [
                "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "--",
                "sh", "-c", _ENTER, "sh", self.root, self.config["config"]["User"], *self.writable, "--",
                "/usr/bin/env", "--ignore-environment", f"--chdir={directory}", *variables, *command,
            ],
            capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def files(self) -> Iterator[Path]:
        """Every file of the image, as paths inside it."""
        for directory, folders, names in os.walk(self.root):
            for name in (*folders, *names):
                yield Path("/") / (Path(directory) / name).relative_to(self.root)


@contextmanager
def container_of(archive: Path, writable: Sequence[str] = ("/tmp",)) -> Iterator[Container]:
    """The image of an archive, unpacked for as long as the context lasts."""
    root = Path(tempfile.mkdtemp(prefix="sibyl-image-"))
    try:
        root.chmod(0o755)
        unpack(archive, root)
        yield Container(root, read_config(archive), tuple(writable))
    finally:
        shutil.rmtree(root)
