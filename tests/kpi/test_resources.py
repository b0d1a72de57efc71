"""What a process may use, read from control groups as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from sibyl_runtime.kpi.resources import Limits, ProcessUse, read_limits

MACHINE_CORES = float(len(os.sched_getaffinity(0)))
MACHINE_MEMORY = float(psutil.virtual_memory().total)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/", {"cpu.max": "50000 100000", "memory.max": "1048576"}, Limits(0.5, 1_048_576)),
        ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, Limits(MACHINE_CORES, MACHINE_MEMORY)),
        ("0::/pod/app", {"pod/cpu.max": "20000 100000", "pod/app/cpu.max": "max 100000"}, Limits(0.2, MACHINE_MEMORY)),
        ("0::/pod/app", {"pod/memory.max": "4096", "pod/app/memory.max": "8192"}, Limits(MACHINE_CORES, 4096)),
        ("0::/host/path/of/the/pod", {"memory.max": "8192"}, Limits(MACHINE_CORES, 8192)),
        (
            "5:cpu,cpuacct:/\n6:memory:/",
            {
                "cpu/cpu.cfs_quota_us": "25000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "2048",
            },
            Limits(0.25, 2048),
        ),
        ("5:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1"}, Limits(MACHINE_CORES, MACHINE_MEMORY)),
        (None, {}, Limits(MACHINE_CORES, MACHINE_MEMORY)),
    ],
)
def test_the_tightest_limit_counts_and_else_the_machine(
    tmp_path: Path, groups: str | None, files: dict[str, str], limits: Limits
) -> None:
    root = tmp_path / "cgroup"
    root.mkdir()
    write(root, files)
    if groups is not None:
        write(tmp_path, {"groups": groups})
    assert read_limits(tmp_path / "groups", root) == limits


def test_a_limit_above_the_machine_is_none(tmp_path: Path) -> None:
    write(tmp_path, {"groups": "0::/", "cpu.max": "100000000 100000", "memory.max": str(2**62)})
    assert read_limits(tmp_path / "groups", tmp_path) == Limits(MACHINE_CORES, MACHINE_MEMORY)


def test_use_is_in_percent_of_the_limits() -> None:
    mine = psutil.Process()
    use = ProcessUse(Limits(cores=0.5, memory=float(2**30)))
    times = mine.cpu_times()
    assert use.processor() / 200 == pytest.approx(times.user + times.system, rel=0.2, abs=0.1)
    assert use.memory() / 100 * 2**30 == pytest.approx(mine.memory_info().rss, rel=0.1)
