"""Temporary directories that do not pile up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from e2e.cluster.work_directory import WorkDirectory, remove_left_over

ROOT = Path(__file__).parents[2]


def test_a_directory_in_use_is_kept_and_one_whose_owner_was_killed_is_removed(tmp_path: Path) -> None:
    owner = f"""
import os, signal
from pathlib import Path
from e2e.cluster.work_directory import WorkDirectory
directory = WorkDirectory("test", Path({str(tmp_path)!r}))
print(directory.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", owner], cwd=ROOT, capture_output=True, text=True, check=False)
    used = WorkDirectory("test", tmp_path)
    assert remove_left_over(tmp_path, settled=0) == [Path(killed.stdout.strip())]
    assert list(tmp_path.iterdir()) == [used.path]
    used.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_young_directory_is_left_alone_because_its_owner_may_not_hold_its_lock_yet(tmp_path: Path) -> None:
    young = tmp_path / "sibyl-testcluster-young"
    young.mkdir()
    assert remove_left_over(tmp_path) == []
    assert young.exists()


def test_an_owner_that_is_interrupted_before_it_could_remove_it_leaves_nothing(tmp_path: Path) -> None:
    owner = f"""
from pathlib import Path
from e2e.cluster.work_directory import WorkDirectory
WorkDirectory("test", Path({str(tmp_path)!r}))
raise KeyboardInterrupt
"""
    subprocess.run([sys.executable, "-c", owner], cwd=ROOT, capture_output=True, check=False)
    assert list(tmp_path.iterdir()) == []
