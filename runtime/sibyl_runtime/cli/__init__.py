"""The command line `sibyl`. Modules with weight are imported by the command that needs them: help comes at once."""

import sys
import time

_STARTED = time.perf_counter()


def elapsed() -> float:
    """Seconds since the program began."""
    return time.perf_counter() - _STARTED


def main() -> None:
    """Entry point of the console script; the process ends with an exit code of ExitCode, also while it is loading."""
    try:
        from sibyl_runtime.cli.app import app

        app()
    except KeyboardInterrupt:
        from sibyl_runtime.cli.exit_codes import ExitCode

        print("sibyl: interrupted", file=sys.stderr)
        raise SystemExit(ExitCode.INTERRUPTED) from None
