"""A condition, and the chain of checks that decides it: the first check that fails gives reason and message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sibyl_operator.observed import Observed

Truth = Literal["True", "False", "Unknown"]

LONGEST_MESSAGE: Final = 2048
MOST_NAMES: Final = 5


@dataclass(frozen=True)
class Condition:
    """One observation. `message` of a False ends with the next step.

    `stalls` marks what neither time nor the operator will mend: someone has to change the workspace or its database.
    """

    type: str
    status: Truth
    reason: str
    message: str
    stalls: bool = False


@dataclass(frozen=True)
class Finding:
    """Why a condition does not hold, or cannot be judged yet."""

    reason: str
    message: str
    status: Truth = "False"
    stalls: bool = False


Check = Callable[[Observed], Finding | None]


def judge(kind: str, checks: Iterable[Check], observed: Observed, *, reason: str, message: str) -> Condition:
    """The condition `kind`: the first finding of the chain, else True with `reason` and `message`."""
    for check in checks:
        finding = check(observed)
        if finding is not None:
            return Condition(kind, finding.status, finding.reason, bounded(finding.message), finding.stalls)
    return Condition(kind, "True", reason, bounded(message))


def bounded(message: str) -> str:
    """At most 2048 characters: etcd keeps every one of them."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
