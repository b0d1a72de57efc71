"""The moment by which an answer is due, handed down as a value: every step gets what the earlier ones left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sibyl_runtime.errors import DeadlineExceeded

Clock = Callable[[], float]


@dataclass(frozen=True)
class Deadline:
    """`at` is a reading of `clock` in seconds, None for no deadline; `seconds` is how long was given."""

    at: float | None
    seconds: float | None
    clock: Clock = field(default=time.monotonic, repr=False, compare=False)
    remedy: str = field(default="raise mcp.timeout or the pipeline's timeout_s", repr=False, compare=False)
    """What gives more time: a part of the error's sentence."""

    @classmethod
    def after(cls, seconds: float | None, *, clock: Clock = time.monotonic) -> Deadline:
        """The deadline `seconds` from now; None never passes."""
        return cls(None if seconds is None else clock() + seconds, seconds, clock)

    def capped(self, seconds: float | None, remedy: str | None = None) -> Deadline:
        """This deadline, or the one `seconds` from now where that is earlier, with a `remedy` of its own."""
        if seconds is None:
            return self
        other = Deadline(self.clock() + seconds, seconds, self.clock, remedy or self.remedy)
        return other if self.at is None or (other.at is not None and other.at < self.at) else self

    def remaining(self) -> float | None:
        """Seconds left, never below 0; None without a deadline."""
        return None if self.at is None else max(0.0, self.at - self.clock())

    @property
    def passed(self) -> bool:
        """True when nothing is left."""
        return self.at is not None and self.clock() >= self.at

    def check(self, stage: str) -> None:
        """Raise DeadlineExceeded naming `stage` when nothing is left."""
        if self.passed:
            raise self.exceeded(stage)

    def exceeded(self, stage: str, **where: str) -> DeadlineExceeded:
        """The error to raise for a `stage` that ran out of time; `where` adds what else is known to `details`."""
        place = "".join(f" of {kind} `{name}`" for kind, name in where.items())
        return DeadlineExceeded(
            f"the deadline of {self.seconds:g} s passed in stage `{stage}`{place}; try again, or {self.remedy}"
            if self.seconds is not None
            else f"the deadline passed in stage `{stage}`{place}",
            details={"stage": stage, **where, "deadline_seconds": self.seconds},
        )
