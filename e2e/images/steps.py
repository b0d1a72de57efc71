"""Runs one program of a build: its output goes to a log, its end is waited for, and it never outlives this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from e2e.cluster.processes import Child
from e2e.images.errors import ImageError

Progress = Callable[[str], None]


def run_step(
    what: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    progress: Progress,
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> None:
    """Run `command` to its end, with a line of progress every second. Raises ImageError with the end of its output."""
    started = time.monotonic()
    child = Child(command, log=log, env=env, cwd=cwd)
    try:
        progress(f"{what}, started")
        while child.wait(1.0) is None:
            progress(f"{what}, {time.monotonic() - started:.0f} s so far")
    finally:
        child.kill()
    if child.exit_code != 0:
        raise ImageError(f"{what} failed (exit code {child.exit_code}); it said last:\n{child.log_tail()}")
