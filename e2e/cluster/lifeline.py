"""Run one program that cannot outlive the process that asked for it.

Started as `python -I -S lifeline.py REPORT_FD PROGRAM ARGUMENT...` with a pipe as standard input. The starter holds
the other end. However the starter ends, also by kill -9, the kernel closes that end, and this process kills the whole
process group of the program. A death signal of the kernel (PR_SET_PDEATHSIG) would do less: it follows the starting
*thread*, exists on Linux alone and does not reach the program's own children.

REPORT_FD receives the program's process id, or `!` and the reason why it could not be started.
The exit code is the program's own, or 128 + the signal that ended it, as a container runtime reports it.
Only the standard library is imported, and little of it: every process of the test cluster starts through here.
"""

import os
import signal
import sys
import threading

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Python ignores these two at start-up, and an ignored signal stays ignored in the program that is started.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def _start(command: list[str], report_fd: int) -> int:
    """Start the program in a process group of its own; report its id. Ends this process where that fails."""
    try:
        child = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_CLOSE, report_fd)],
            setpgroup=0,
            setsigdef=[*_STOP_SIGNALS, *_IGNORED_BY_PYTHON],
        )
    except OSError as error:
        os.write(report_fd, f"!{command[0]}: {error.strerror}".encode())
        os._exit(127)
    os.write(report_fd, str(child).encode())
    os.close(report_fd)
    return child


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers "not permitted" for a group that holds nothing but a zombie.
        return


def _watch_starter(child: int) -> None:
    while os.read(0, 1):
        pass
    _signal_group(child, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Start the program of `arguments`, end it with the starter, and return the exit code to use."""
    report_fd, command = int(arguments[0]), arguments[1:]
    early: list[int] = []
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda received, _frame: early.append(received))
    child = _start(command, report_fd)
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda received, _frame: _signal_group(child, received))
    for received in early:
        _signal_group(child, received)
    threading.Thread(target=_watch_starter, args=(child,), daemon=True).start()
    # Left unreaped until its group is gone: the id cannot name another process in the meantime.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _signal_group(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
