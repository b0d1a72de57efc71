"""`sibyl profile --pid`: where a running process spends its time, watched from outside by py-spy.

Nothing of the process changes: it needs no extra, no endpoint and no restart. What is needed is the right to read its
memory, which the kernel gives to root and, where it is not hardened, to the same user.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sibyl_runtime.cli.profilers import Profile, functions_of, missing, write_flame_graph
from sibyl_runtime.errors import InvalidParameters, StartupError

LOOKS_A_SECOND = 100
STARTING_SECONDS = 60.0
"""What py-spy may take besides the watching: it reads the symbols of an interpreter, on a busy machine too."""
_MAY_NOT = (
    "--pid: the kernel does not let this user read process {pid}; be root (in a container, with the capability "
    "SYS_PTRACE), or the user of that process where kernel.yama.ptrace_scope is 0. docs/profiling.md tells how in a pod"
)


@dataclass(frozen=True)
class Attaching:
    """A process, and for how many `seconds` it is watched."""

    pid: int
    seconds: int


@dataclass(frozen=True)
class Seen:
    """What the threads were doing. `threads` of them worked at some time; `elapsed_seconds` is how long was watched."""

    profile: Profile
    threads: int
    elapsed_seconds: int


def attach(work: Attaching, output: Path) -> Seen:
    """Watch, and write the flame graph.

    Raises InvalidParameters for a process that is not there or is no Python, StartupError without the extra or the
    right.
    """
    _check(work.pid)
    with tempfile.TemporaryDirectory(prefix="sibyl-profile-") as directory:
        recorded = Path(directory) / "time.json"
        _record(work, recorded)
        found = json.loads(recorded.read_text(encoding="utf-8"))
    stacks = sorted(_stacks(found), key=lambda stack: stack[0])
    root = write_flame_graph(output, session_of(stacks, work))
    # Each thread has a frame of its own at the bottom, which is no function.
    functions = [] if root is None else [one for one in functions_of(root) if one.file]
    amount = sum(seconds for _, seconds in stacks)
    return Seen(Profile("seconds", amount, functions), len(found["profiles"]), work.seconds)


def session_of(stacks: list[tuple[list[str], float]], work: Attaching) -> Any:
    """What was seen, in the form that pyinstrument renders."""
    try:
        from pyinstrument.session import Session
    except ImportError as error:
        raise missing("pyinstrument") from error
    return Session(
        frame_records=stacks,
        start_time=0.0,
        duration=sum(seconds for _, seconds in stacks),
        min_interval=1 / LOOKS_A_SECOND,
        max_interval=1 / LOOKS_A_SECOND,
        sample_count=len(stacks),
        start_call_stack=[""],
        target_description=f"process {work.pid}, {work.seconds} s",
        cpu_time=sum(seconds for _, seconds in stacks),
        sys_path=sys.path,
        sys_prefixes=[sys.prefix, sys.base_prefix],
    )


def _check(pid: int) -> None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise InvalidParameters(
            f"--pid: there is no process {pid}; `pgrep -f 'sibyl serve'` lists those that serve"
        ) from None
    except PermissionError:
        raise StartupError(_MAY_NOT.format(pid=pid)) from None


def _record(work: Attaching, recorded: Path) -> None:
    # --function: a function is one entry, and not one for each of its lines. --threads keeps the threads apart.
    command = [_program(), "record", "--pid", str(work.pid), "--format", "speedscope", "--output", str(recorded)]
    command += [
        "--duration",
        str(work.seconds),
        "--rate",
        str(LOOKS_A_SECOND),
        "--function",
        "--threads",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=work.seconds + STARTING_SECONDS)
    if done.returncode == 0 and recorded.exists():
        return
    said = done.stderr.strip() or done.stdout.strip()
    if "permission denied" in said.lower():
        raise StartupError(_MAY_NOT.format(pid=work.pid))
    reason = said.partition("Stack backtrace")[0].strip().replace("\n", " ") or f"exit code {done.returncode}"
    raise InvalidParameters(
        f"--pid: process {work.pid} cannot be watched; is it Python, and does it still run? py-spy says: {reason}"
    )


def _program() -> str:
    beside = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("py-spy")
    if found is None:
        raise missing("py-spy")
    return found


def _stacks(found: Mapping[str, Any]) -> Iterator[tuple[list[str], float]]:
    """Each look at a thread as pyinstrument has it: names of frames, the outermost first, and seconds."""
    frames = [f"{one['name']}\x00{one['file']}\x00{one['line'] or 0}" for one in found["shared"]["frames"]]
    for thread in found["profiles"]:
        named = f"{thread['name']}\x00\x000"
        for sample, seconds in zip(thread["samples"], thread["weights"], strict=True):
            yield [named, *(frames[place] for place in sample)], float(seconds)
