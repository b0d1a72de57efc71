"""The command line `sibyl`. Modules with weight are imported by the command that needs them: help comes at once."""

import time

_STARTED = time.perf_counter()


def elapsed() -> float:
    """Seconds since the program began."""
    return time.perf_counter() - _STARTED


def main() -> None:
    """Entry point of the console script."""
    from sibyl_runtime.cli.app import run

    run()
