"""What the exit code of a command tells the script that called it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Documented at the end of `sibyl --help`."""

    OK = 0
    INVALID = 1
    USAGE = 2
    UNAVAILABLE = 3
    PARTIAL = 4
    BELOW = 5
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 done · 1 invalid workspace or bad input · 2 wrong usage · 3 cannot start, or something needed is "
    "unavailable · 4 done in part (something was skipped) · 5 a measure is below what was asked (eval) · "
    "130 interrupted"
)
