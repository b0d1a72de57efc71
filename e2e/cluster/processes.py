"""Child processes that never outlive this one, each in its own group, each ended by its own id.

Ctrl-C in a terminal does not reach them (they are in another session), so their owner decides the order of the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from e2e.cluster.errors import StartError

_LIFELINE = Path(__file__).with_name("lifeline.py")


class Child:
    """One running program. `pid` is the program's own id; `exit_code` is 128 + n after signal n."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str = "",
    ) -> None:
        """Start `command`; its output is appended to `log`. Raises StartError where the program cannot be run."""
        self.name = name or Path(command[0]).name
        self.log = log
        with log.open("ab") as output:
            self._launcher, self.pid = _launch([os.fspath(part) for part in command], output, env, cwd)

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the program runs."""
        return self._launcher.poll()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait up to `timeout` seconds for the end; the exit code, or None if it still runs."""
        try:
            return self._launcher.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Ask the program and its children to end (SIGTERM)."""
        self._launcher.terminate()

    def kill(self) -> None:
        """End the program and its children now (SIGKILL), and wait until they are gone."""
        _cut(self._launcher)

    def stop(self, grace: float) -> None:
        """SIGTERM, up to `grace` seconds of patience, then SIGKILL. Safe to call again."""
        self.terminate()
        self.wait(grace)
        self.kill()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the program wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _launch(
    command: list[str], output: IO[bytes], env: Mapping[str, str] | None, cwd: Path | None
) -> tuple[subprocess.Popen[bytes], int]:
    read_end, write_end = os.pipe()
    launcher: subprocess.Popen[bytes] | None = None
    try:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LIFELINE), str(write_end), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            pass_fds=(write_end,),
            start_new_session=True,
        )
        os.close(write_end)
        write_end = -1
        report = os.read(read_end, 4096).decode(errors="replace")
        if not report.isdigit():
            raise StartError(f"cannot start {report.removeprefix('!') or command[0]}")
        return launcher, int(report)
    except ValueError as error:  # a NUL byte in an argument, `=` in the name of a variable
        raise StartError(f"cannot start {command[0]}: {error}") from error
    except BaseException:  # also Ctrl-C between the start and the report: nobody else knows this process yet
        if launcher is not None:
            _cut(launcher)
        raise
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)


def _cut(launcher: subprocess.Popen[bytes]) -> None:
    """Close the lifeline, which kills the program's group, and reap the launcher."""
    if launcher.stdin is not None:
        launcher.stdin.close()
    launcher.wait()
