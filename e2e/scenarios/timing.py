"""The time that each scenario showed: collected while they run, printed at the end."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Timings:
    """Figures in the order in which they were measured."""

    lines: list[str] = field(default_factory=list)

    def say(self, what: str, figure: str) -> None:
        """One figure of the running scenario."""
        self.lines.append(f"{what:<58} {figure}")

    def seconds(self, what: str, seconds: float) -> None:
        """One duration."""
        self.say(what, f"{seconds:.1f} s")
