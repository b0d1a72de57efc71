"""Wall-clock time as a seam: what is written to status and to Leases is decided with it, so tests bring their own.

Durations and timers are the event loop's own time, which a test replaces together with the loop.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day."""

    def now(self) -> datetime:
        """The present, aware and in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The present, aware and in UTC."""
        return datetime.now(UTC)
