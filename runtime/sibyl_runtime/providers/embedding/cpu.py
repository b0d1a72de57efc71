"""What the processor allows: threads worth starting and whether int8 arithmetic pays.

`os.cpu_count()` counts the node's cores, not the pod's share of them. A pool sized by it spends its quota in a burst
and is then throttled, which shows as a latency tail. The quota comes from the control group instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_MEMBERSHIP = Path("/proc/self/cgroup")
CPU_INFO = Path("/proc/cpuinfo")

# Above two threads a sentence encoder of this size gains little, and pods times threads soon exceeds the cores.
MOST_THREADS = 2
INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})


def encoder_threads(quota: float | None, cores: int) -> int:
    """Whole threads inside the quota (in cores, None: no limit) and the cores this process may use, 1 to 2."""
    allowed = cores if quota is None else min(cores, int(quota))
    return max(1, min(MOST_THREADS, allowed))


def usable_cores() -> int:
    """Cores this process may be scheduled on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: Path = CGROUP_ROOT, membership: Path = CGROUP_MEMBERSHIP) -> float | None:
    """The smallest CPU quota, in cores, of this process's control groups (version 1 or 2). None: unlimited."""
    quotas = [quota for directory in _control_groups(root, membership) if (quota := _quota(directory)) is not None]
    return min(quotas, default=None)


def multiplies_int8(cpu_info: Path = CPU_INFO) -> bool:
    """True where the processor multiplies int8 vectors natively; elsewhere int8 is slower than float32."""
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return not INT8_FLAGS.isdisjoint(flags.split())


def choose_precision(wanted: str, cpu_info: Path = CPU_INFO) -> str:
    """`int8` or `fp32`: what was asked for, and for `auto` what this processor is fast at."""
    if wanted != "auto":
        return wanted
    return "int8" if multiplies_int8(cpu_info) else "fp32"


def _control_groups(root: Path, membership: Path) -> Iterator[Path]:
    """Directories that may hold a quota: the process's own group and every group above it."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mounts = [root] if not controllers else [root / controllers] if "cpu" in controllers.split(",") else []
        for mount in mounts:
            group = mount / path.lstrip("/")
            yield group
            yield from (parent for parent in group.parents if parent.is_relative_to(mount))
    yield root / "cpu"


def _quota(directory: Path) -> float | None:
    """Version 2 keeps "<quota|max> <period>" in one file, version 1 two files with -1 for no limit."""
    try:
        quota, period = (directory / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit = int((directory / "cpu.cfs_quota_us").read_text())
        return limit / int((directory / "cpu.cfs_period_us").read_text()) if limit > 0 else None
    except (OSError, ValueError):
        return None
