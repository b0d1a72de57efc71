"""Makes the base of the test images from Debian's packages: no registry has to be reached."""

from __future__ import annotations

import shutil
from pathlib import Path

from e2e.images.recipe import BASE_LEFT_OUT, BASE_PACKAGES, SUITE
from e2e.images.steps import Progress, run_step


def make_base(directory: Path, log: Path, progress: Progress) -> None:
    """Fill `directory` with a small Debian that has Python. Raises ImageError with debootstrap's last lines.

    debootstrap mounts /proc in its tree: in a mount namespace of its own the mount goes with it, also after a kill.
    """
    command: list[str | Path] = [
        "unshare", "--mount", "--propagation", "private",
        "debootstrap", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", SUITE, directory,
    ]  # fmt: skip
    run_step("making the base from Debian's packages", command, log=log, progress=progress)
    for left_out in BASE_LEFT_OUT:
        _leave_out(directory / left_out)


def _leave_out(path: Path) -> None:
    """Remove a file; of a directory what is in it, for programs expect those of /var."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
