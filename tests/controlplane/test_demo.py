"""`make demo` can be stopped at any moment, and leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.waiting import wait_until
from e2e.programs import ROOT


@pytest.mark.timeout(180)
@pytest.mark.parametrize("moment", ["ingested  ", "ingested again", "In a cluster", "control plane", "operator"])
def test_ctrl_c_leaves_nothing_running(own_control_plane: ControlPlane, moment: str, tmp_path: Path) -> None:
    """The signal goes to the whole foreground group, as a terminal sends it."""
    output = tmp_path / "demo.log"
    with output.open("wb") as log:
        demo = subprocess.Popen(
            [sys.executable, "-u", "-m", "e2e.demo"],
            cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "TMPDIR": str(_short(tmp_path))},
        )  # fmt: skip
    seen = _Family(demo.pid)
    try:
        wait_until(lambda: moment in output.read_text(), what=f"the demonstration to reach {moment!r}", timeout=120)
        os.killpg(demo.pid, signal.SIGINT)
        # Python ends by the signal itself, whatever it was told to return, where it struck inside an `exec`.
        assert demo.wait(60) in (130, -signal.SIGINT), output.read_text()
    finally:
        demo.kill()
        demo.wait()
        members = seen.stop()
    assert len(members) > 1
    wait_until(lambda: not _running(members), what=f"{_running(members)} to end", timeout=30)
    assert output.read_text().rstrip().endswith("interrupted; nothing is left running")
    assert list(_short(tmp_path).iterdir()) == []


def _short(tmp_path: Path) -> Path:
    directory = tmp_path / "t"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    return directory


class _Family:
    """All processes that a process had below it at any time, whatever session they moved to."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._members: set[psutil.Process] = {self._root}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> set[psutil.Process]:
        self._done.set()
        self._thread.join()
        return self._members

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            try:
                self._members |= set(self._root.children(recursive=True))
            except psutil.NoSuchProcess:
                return


def _running(members: set[psutil.Process]) -> list[psutil.Process]:
    return [process for process in members if process.is_running()]
