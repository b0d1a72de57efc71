"""What this process uses of the processors and the memory that it may use.

It may use what its control group is limited to (v2, or v1 where that is mounted), and without a limit the machine.
Control groups are nested: the tightest of them counts.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
OWN_GROUPS: Final = Path("/proc/self/cgroup")
OWN_MEMORY: Final = Path("/proc/self/statm")


@dataclass(frozen=True)
class Limits:
    """`cores`, possibly a fraction, and `memory` in bytes."""

    cores: float
    memory: float


def read_limits(groups: Path = OWN_GROUPS, root: Path = CGROUP_ROOT) -> Limits:
    """What this process may use. `groups` says which control groups it is in, `root` is where they are mounted."""
    cores, memory = float(_machine_cores()), float(_machine_memory())
    for controllers, path in _groups(groups):
        if not controllers:
            for directory in _with_parents(root, path):
                cores = min(cores, _quota(_words(directory / "cpu.max")) or cores)
                memory = min(memory, _number(_words(directory / "memory.max")) or memory)
        elif "cpu" in controllers:
            for directory in _with_parents(root / "cpu", path):
                quota, period = _words(directory / "cpu.cfs_quota_us"), _words(directory / "cpu.cfs_period_us")
                cores = min(cores, _quota([*quota, *period]) or cores)
        elif "memory" in controllers:
            for directory in _with_parents(root / "memory", path):
                memory = min(memory, _number(_words(directory / "memory.limit_in_bytes")) or memory)
    return Limits(cores, memory)


class ProcessUse:
    """Seconds of processor time and bytes of memory, of this process without its children, against `limits`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def processor(self) -> float:
        """Percent of the cores times seconds, since the process began."""
        return 100 * time.process_time() / self._limits.cores

    def memory(self) -> float:
        """Percent of the memory, now."""
        return 100 * _resident_bytes() / self._limits.memory


def _groups(file: Path) -> Iterator[tuple[list[str], str]]:
    """Controllers (none: version 2) and path of each control group of the process."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        yield controllers.split(",") if controllers else [], path


def _with_parents(root: Path, path: str) -> Iterator[Path]:
    """The group and those around it. In a container the path may be the host's: then its own group is the root."""
    directory = root / path.strip("/")
    while directory != root:
        yield directory
        directory = directory.parent
    yield root


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _quota(words: list[str]) -> float | None:
    """Cores of `quota period` in microseconds; None without a limit (`max`, or -1)."""
    quota, period = _number(words[:1]), _number(words[1:])
    return quota / period if quota and period else None


def _number(words: list[str]) -> float | None:
    return float(words[0]) if words and words[0].isdigit() and int(words[0]) > 0 else None


def _machine_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _resident_bytes() -> int:
    words = _words(OWN_MEMORY)
    if len(words) > 1:
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # not Linux: the most that it has used so far
    return peak if sys.platform == "darwin" else peak * 1024
