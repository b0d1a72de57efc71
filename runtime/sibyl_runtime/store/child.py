"""A server process of ours that cannot outlive us, on any POSIX system.

Two processes are started: the server, as our direct child, and a *leash*, a shell that reads from a pipe whose other
end only we hold. When we end, however we end, the pipe closes, the leash wakes up and stops the server.
Why not PR_SET_PDEATHSIG: it exists on Linux alone, it fires when the *thread* that started the child ends, and it
needs code between fork and exec in a process full of threads.
The server's pid cannot be taken by another process while the leash holds it: only `ChildProcess` reaps the server,
and it ends the leash in the same step.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# Bounded: where nobody reaps orphans, a dead server stays visible for ever.
_LEASH = """
read -r _
kill -s "$1" "$2" 2>/dev/null
turns=0
while [ -n "$3" ] && [ $turns -lt 600 ] && kill -0 "$2" 2>/dev/null; do turns=$((turns + 1)); sleep 0.1; done
[ -z "$3" ] || rmdir "$3" 2>/dev/null
"""


@dataclass(frozen=True)
class Account:
    """The user and group that a child runs as."""

    uid: int
    gid: int


class ChildProcess:
    """A running server. `stop` ends it; so does the end of this process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        output: IO[bytes],
        stop_signal: signal.Signals,
        environment: Mapping[str, str],
        account: Account | None = None,
        pass_fds: Sequence[int] = (),
        leaves_empty: Path | None = None,
    ) -> None:
        """Start `command`; stdout and stderr go to `output`. `stop_signal` asks it to end in good order.

        `leaves_empty` is a directory that the server empties as it ends; the leash removes it when we cannot.
        """
        self._stop_signal = stop_signal
        # A session of its own keeps the server out of reach of Ctrl-C in our terminal: we drain first, then stop it.
        self._server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd="/",
            pass_fds=pass_fds,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        self._leash = subprocess.Popen(
            [
                "/bin/sh", "-c", _LEASH, "sh",
                stop_signal.name.removeprefix("SIG"), str(self._server.pid), str(leaves_empty or ""),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid

    def exit_code(self) -> int | None:
        """None while the server runs; negative for a signal."""
        code = self._server.poll()
        if code is not None:
            self._end_leash()
        return code

    def stop(self, *, timeout: float = 20.0) -> int:
        """Ask the server to end, insist after `timeout` seconds; its exit code."""
        if self._server.poll() is None:
            os.kill(self.pid, self._stop_signal)
            try:
                self._server.wait(timeout)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._end_leash()
        return int(self._server.returncode)

    def _end_leash(self) -> None:
        if self._leash.stdin is not None and not self._leash.stdin.closed:
            # SIGKILL before the pipe closes: the leash must not act on a pid that has just been given back.
            self._leash.kill()
            self._leash.stdin.close()
            self._leash.wait()


def child_environment(home: Path) -> dict[str, str]:
    """What a server needs from our environment: no PG* variable and no secret of ours may leak into it."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    return {**kept, "HOME": str(home), "LC_ALL": "C"}
