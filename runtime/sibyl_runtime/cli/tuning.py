"""How a serving process uses its machine: the processors that it may run on, and how often Python collects garbage."""

from __future__ import annotations

import gc
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

CPUS_HINT: Final = "--cpus / $SIBYL_CPUS"
GC_HINT: Final = "--gc-threshold / $SIBYL_GC_THRESHOLD"
_RANGE = re.compile(r"^(?P<first>\d{1,5})(-(?P<last>\d{1,5}))?$", re.ASCII)
_THRESHOLD = re.compile(r"^\d{1,9}$", re.ASCII)
_THREADS = Path("/proc/self/task")


@dataclass(frozen=True)
class Tuning:
    """None leaves a thing as it is. `gc_threshold` as gc.set_threshold takes it."""

    cpus: frozenset[int] | None = None
    gc_threshold: tuple[int, int, int] | None = None

    def apply(self) -> None:
        """To this process, all its threads and what it starts: the embedded PostgreSQL too."""
        if self.gc_threshold is not None:
            gc.set_threshold(*self.gc_threshold)
        if self.cpus is not None:
            # The call binds one thread; libraries that were imported have started theirs.
            for thread in [0, *(int(entry.name) for entry in _THREADS.iterdir())]:
                os.sched_setaffinity(thread, self.cpus)

    def told(self) -> dict[str, Any]:
        """What is set, for the line that tells of the start: {"cpus": [0, 1], "gc_threshold": [1000, 15, 15]}."""
        fields: dict[str, Any] = {}
        if self.cpus is not None:
            fields["cpus"] = sorted(os.sched_getaffinity(0))
        if self.gc_threshold is not None:
            fields["gc_threshold"] = list(gc.get_threshold())
        return fields


def read_tuning(cpus: str | None, gc_threshold: str | None) -> Tuning:
    """From text such as "0-3,6" and "1000,15,15". Raises BadParameter, which typer reports as wrong usage."""
    return Tuning(None if cpus is None else _cpus(cpus), None if gc_threshold is None else _threshold(gc_threshold))


def _cpus(text: str) -> frozenset[int]:
    if not hasattr(os, "sched_setaffinity"):
        raise typer.BadParameter("processors can be chosen on Linux only; leave it out", param_hint=CPUS_HINT)
    wanted: set[int] = set()
    for part in text.split(","):
        found = _RANGE.match(part.strip())
        first, last = (int(found["first"]), int(found["last"] or found["first"])) if found else (1, 0)
        if last < first:
            raise typer.BadParameter(f'"{text}" is no list of processors, such as 0-3 or 0,2', param_hint=CPUS_HINT)
        wanted.update(range(first, last + 1))
    allowed = os.sched_getaffinity(0)
    if not wanted <= allowed:
        missing = ", ".join(str(cpu) for cpu in sorted(wanted - allowed)[:8])
        usable = ", ".join(str(cpu) for cpu in sorted(allowed))
        raise typer.BadParameter(f"this process may not run on {missing}; it may on {usable}", param_hint=CPUS_HINT)
    return frozenset(wanted)


def _threshold(text: str) -> tuple[int, int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(_THRESHOLD.match(part) for part in parts) or parts[0].strip("0") == "":
        # A first number of zero would switch the collection off: memory would grow until the process is killed.
        raise typer.BadParameter(
            f'"{text}" is not three whole numbers, the first above 0, such as 1000,15,15', param_hint=GC_HINT
        )
    first, second, third = (int(part) for part in parts)
    return first, second, third
