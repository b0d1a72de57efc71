"""Build a group of programs from Go modules: one after another, with a line that says how long it takes.

Nothing half-built is ever seen: the programs appear in the cache by one rename, and an interrupted build leaves
neither a process nor a directory. What Go itself has compiled stays in Go's own cache, so the next try goes on there.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from e2e.cluster.errors import BuildError
from e2e.cluster.processes import Child
from e2e.cluster.recipe import BUILD_ENVIRONMENT, Group, Program, build_arguments

Progress = Callable[[str], None]

_CORES_OF_THE_ESTIMATE = 2


def build_programs(go: Path, group: Group, target: Path, progress: Progress) -> None:
    """Build every program of `group` with the `go` given, then rename the finished directory to `target`.

    The caller holds the lock of `target`. Raises BuildError with the end of Go's own output.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".build-{target.name}-") as scratch:
        programs = Path(scratch) / "programs"
        programs.mkdir()
        for at, program in enumerate(group.programs):
            with closing(_build(go, group.module, program, programs, started)) as running:
                for elapsed in running:
                    progress(_progress_line(group, at, elapsed))
        programs.rename(target)
    progress(f"built {group.title} in {_duration(time.monotonic() - started)}: {target}")


def _build(go: Path, module: Path, program: Program, programs: Path, started: float) -> Generator[float, None, None]:
    """Build one program; yields, once a second, the seconds since `started`."""
    log = programs.parent / f"{program.name}.log"
    environment = {**os.environ, **BUILD_ENVIRONMENT, "GOBIN": str(programs)}
    child = Child([go, *build_arguments(program, programs)], log=log, env=environment, cwd=module)
    try:
        yield time.monotonic() - started
        while child.wait(1.0) is None:
            yield time.monotonic() - started
    finally:
        child.kill()
    if child.exit_code != 0:
        raise BuildError(
            f"building {program.name} failed (exit code {child.exit_code}). It needs the Go module proxy once, "
            f"about 3 GB of disk and 3 GB of memory. Go printed last:\n{child.log_tail()}"
        )


def _progress_line(group: Group, at: int, elapsed: float, cores: int | None = None) -> str:
    """One line: what is built now, how far that is, how long so far, and about how long in all."""
    cores = cores or os.cpu_count() or 1
    estimate = sum(program.seconds for program in group.programs) * _CORES_OF_THE_ESTIMATE / cores
    return (
        f"building {group.programs[at].name} {at + 1}/{len(group.programs)}, {_duration(elapsed)} so far; "
        f"about {_duration(estimate, coarse=True)} in all on {cores} cores, once; cached afterwards"
    )


def _duration(seconds: float, *, coarse: bool = False) -> str:
    if coarse:
        minutes = round(seconds / 60)
        return f"{minutes} minutes" if minutes > 1 else "1 minute"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s" if seconds >= 60 else f"{int(seconds)} s"
