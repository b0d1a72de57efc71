"""One run of a container: a local process from its start to its exit, stopped without ever blocking its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.processes import Child

# What a kubelet takes of a log for a terminated message: at most 80 lines and 2048 bytes.
_MESSAGE_LINES = 80
_MESSAGE_BYTES = 2048


@dataclass(frozen=True)
class Launch:
    """What to run: a resolved command, the whole environment, and the working directory."""

    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True)
class Exit:
    """How a run ended. Times are seconds since the epoch; `message` holds the last lines of its output."""

    code: int
    started: float
    finished: float
    message: str


class ContainerProcess:
    """A running process. Call `poll` often: it also carries out a stop that was begun."""

    def __init__(self, launch: Launch, log: Path, now: float) -> None:
        """Start it; output is appended to `log`. Raises StartError where the program cannot be run."""
        self.started = now
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        self._child = Child(launch.command, log=log, env=launch.env, cwd=launch.cwd)
        self._terminate_at: float | None = None
        self._kill_at: float | None = None

    @property
    def pid(self) -> int:
        """The process id of the container's program."""
        return self._child.pid

    @property
    def stopping(self) -> bool:
        """Whether a stop was begun."""
        return self._kill_at is not None

    def begin_stop(self, now: float, *, grace: float, delay: float = 0.0) -> None:
        """SIGTERM after `delay` seconds, SIGKILL `grace` seconds from now. A later call can only shorten the grace."""
        if self._kill_at is None:
            self._terminate_at = now + min(delay, grace)
        self._kill_at = min(now + grace, self._kill_at or now + grace)

    def poll(self, now: float) -> Exit | None:
        """How it ended, or None while it runs."""
        if self._kill_at is not None and now >= self._kill_at:
            self._child.kill()
        elif self._terminate_at is not None and now >= self._terminate_at:
            self._terminate_at = None
            self._child.terminate()
        code = self._child.exit_code
        if code is None:
            return None
        self._child.kill()  # reaps, and closes the lifeline's pipe
        return Exit(code, self.started, now, self._last_lines())

    def kill(self) -> None:
        """End it now, with all the processes that it started in its group."""
        self._child.kill()

    def _last_lines(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, self._log.stat().st_size - _MESSAGE_BYTES))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-_MESSAGE_LINES:])
