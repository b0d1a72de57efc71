"""Rates over the last seconds, computed when read, so that a request pays for one addition and no timer runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Slot:
    second: int = -1
    total: int = 0
    failed: int = 0


class SlidingWindow:
    """Counts of events in each of the last `seconds` whole seconds; older counts fall out by being overwritten."""

    def __init__(self, seconds: int = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots = [_Slot() for _ in range(seconds)]
        self._started = clock()

    def add(self, *, failed: bool) -> None:
        """Count one event now."""
        second = int(self._clock())
        slot = self._slots[second % len(self._slots)]
        if slot.second != second:
            slot.second, slot.total, slot.failed = second, 0, 0
        slot.total += 1
        slot.failed += failed

    def per_second(self) -> float:
        """Events per second over the window, or over the life of the process while that is shorter."""
        now = self._clock()
        span = min(float(len(self._slots)), max(now - self._started, 1.0))
        return sum(slot.total for slot in self._live(now)) / span

    def failed_share(self) -> float:
        """Failed events among all in the window, 0 to 1; 0 when there were none."""
        live = self._live(self._clock())
        total = sum(slot.total for slot in live)
        return sum(slot.failed for slot in live) / total if total else 0.0

    def _live(self, now: float) -> list[_Slot]:
        oldest = int(now) - len(self._slots)
        return [slot for slot in self._slots if slot.second > oldest]
