"""The verdict of one pass: when to look again, and how to count it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Result = Literal["ready", "waiting", "stalled", "paused", "gone", "error"]


@dataclass(frozen=True)
class Outcome:
    """`requeue_after` in seconds; None leaves it to events and the resync. `retry` asks for backoff on top of it."""

    result: Result
    requeue_after: float | None = None
    retry: bool = False
