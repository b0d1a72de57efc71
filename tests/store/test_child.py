from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sibyl_runtime.store.child import ChildProcess, child_environment


def _child(tmp_path: Path, script: str) -> ChildProcess:
    with (tmp_path / "output").open("ab") as output:
        return ChildProcess(
            ["/bin/sh", "-c", script],
            output=output,
            stop_signal=signal.SIGINT,
            environment=child_environment(tmp_path),
        )


def _wait_for_output(tmp_path: Path, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in (tmp_path / "output").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_stop_asks_with_the_signal_and_returns_the_exit_code(tmp_path: Path) -> None:
    child = _child(tmp_path, 'trap "exit 7" INT; echo ready; while :; do sleep 0.01; done')
    _wait_for_output(tmp_path, "ready")
    assert child.exit_code() is None
    assert child.stop() == 7


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    child = _child(tmp_path, 'trap "" INT; echo ready; while :; do sleep 0.01; done')
    _wait_for_output(tmp_path, "ready")
    assert child.stop(timeout=0.05) == -signal.SIGKILL
    assert not psutil.pid_exists(child.pid)


def test_a_child_that_ended_by_itself_leaves_no_process_behind(tmp_path: Path) -> None:
    before = len(psutil.Process().children())
    child = _child(tmp_path, "exit 3")
    deadline = time.monotonic() + 10
    while child.exit_code() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert child.exit_code() == 3
    assert child.stop() == 3
    assert len(psutil.Process().children()) == before


def test_no_secret_and_no_postgres_variable_of_ours_reaches_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    environment = child_environment(tmp_path)
    assert set(environment) <= {"PATH", "TMPDIR", "LD_LIBRARY_PATH", "TZ", "HOME", "LC_ALL"}


_PARENT = """
import signal, sys
from pathlib import Path
from sibyl_runtime.store.child import ChildProcess, child_environment
with open(sys.argv[1], "ab") as output:
    child = ChildProcess(["/bin/sh", "-c", "while :; do sleep 0.01; done"], output=output,
                         stop_signal=signal.SIGTERM, environment=child_environment(Path("/")))
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "output")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        gone, _ = psutil.wait_procs([child], timeout=10)
        assert gone == [child]
