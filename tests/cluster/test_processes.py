"""Child processes: they end with their owner, whatever happens to it, and take their own children along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from e2e.cluster.errors import StartError
from e2e.cluster.processes import Child
from e2e.cluster.waiting import wait_until

ROOT = Path(__file__).parents[2]
WITH_A_CHILD = ["sh", "-c", "sleep 600 & echo started; wait"]


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def family(pid: int) -> list[psutil.Process]:
    """The process and its own child."""
    process = psutil.Process(pid)
    children = wait_until(lambda: process.children(recursive=True), what="the child's own child")
    return [process, *children]


def test_the_exit_code_is_the_programs_own(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "echo words; exit 7"], log=tmp_path / "log")
    assert child.wait(10) == child.exit_code == 7
    child.kill()
    assert child.log_tail() == "words"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 137), (signal.SIGSEGV, 139), (signal.SIGTERM, 143)])
def test_a_signal_is_reported_as_a_container_runtime_does(tmp_path: Path, number: int, code: int) -> None:
    child = Child(["sleep", "600"], log=tmp_path / "log")
    os.kill(child.pid, number)
    assert child.wait(10) == code
    child.kill()


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot start /no/such/program: No such file or directory"):
        Child(["/no/such/program"], log=tmp_path / "log")


def test_an_argument_that_no_process_can_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot start sleep: .*null byte"):
        Child(["sleep", "6\0"], log=tmp_path / "log")


def test_stop_asks_first_and_takes_the_whole_group(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "trap 'echo asked; exit 0' TERM; sleep 600 & wait"], log=tmp_path / "log")
    processes = family(child.pid)
    child.stop(grace=10)
    assert child.exit_code == 0
    assert child.log_tail() == "asked"
    assert all(ended(process) for process in processes)


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "trap '' TERM; sleep 600 & echo ready; wait"], log=tmp_path / "log")
    processes = family(child.pid)
    child.stop(grace=0.1)
    assert child.exit_code == 137
    assert all(ended(process) for process in processes)


def test_children_of_a_program_that_was_killed_go_with_it(tmp_path: Path) -> None:
    child = Child(WITH_A_CHILD, log=tmp_path / "log")
    processes = family(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(10) == 137
    assert all(ended(process) for process in processes)
    child.kill()


def test_killing_the_owner_ends_the_program_and_its_children(tmp_path: Path) -> None:
    owner = f"""
from pathlib import Path
from e2e.cluster.processes import Child
child = Child({WITH_A_CHILD!r}, log=Path({str(tmp_path / "log")!r}))
print(child.pid, flush=True)
child.wait()
"""
    with subprocess.Popen([sys.executable, "-c", owner], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        processes = family(int(process.stdout.readline()))
        process.kill()
    wait_until(lambda: all(ended(process) for process in processes), what="the program and its child to end")


def test_the_program_starts_with_default_signals_and_no_input(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "cat; yes | head -1; kill -TERM $$"], log=tmp_path / "log")
    assert child.wait(10) == 143
    child.kill()
    assert child.log_tail() == "y"
