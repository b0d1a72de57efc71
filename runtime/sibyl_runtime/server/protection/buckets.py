"""Token buckets, as the one number that tells all of a bucket: the moment at which it will be full again (GCRA)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sibyl_runtime.workspace import RateLimit

MOST_BUCKETS = 100_000
"""A bucket that is full is forgotten. Above this many that are not, the oldest are too: memory is bounded."""
_FIRST_SWEEP = 1024


@dataclass(frozen=True)
class Taken:
    """What came of taking one call out of a bucket. `retry_after` and `full_after` in seconds."""

    allowed: bool
    remaining: int
    retry_after: float
    full_after: float


class Buckets(Protocol):
    """Where buckets are kept."""

    async def take(self, name: str, rate: RateLimit) -> Taken:
        """Take one call out of the bucket of this name."""

    async def close(self) -> None:
        """Release connections."""


def taken(full_at: float, now: float, rate: RateLimit) -> tuple[Taken, float]:
    """What comes of a call at `now`, and when the bucket is full after it; times in seconds of one clock. Pure."""
    interval = 60.0 / rate.requests_per_minute
    after = max(full_at, now) + interval
    spare = now + rate.burst * interval - after
    # A bucket that is just full enough must not fail by the last bit of a number.
    if spare < -1e-9 * interval:
        return Taken(False, 0, -spare, max(full_at - now, 0.0)), full_at
    return Taken(True, int(spare / interval + 1e-9), 0.0, after - now), after


class MemoryBuckets:
    """Buckets of this process. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._sweep_above = _FIRST_SWEEP

    async def take(self, name: str, rate: RateLimit) -> Taken:
        """Take one call out of the bucket of this name."""
        now = self._clock()
        result, full_at = taken(self._full_at.get(name, now), now, rate)
        if result.allowed:
            self._full_at[name] = full_at
            if len(self._full_at) > self._sweep_above:
                self._sweep(now)
        return result

    async def close(self) -> None:
        """Nothing is open."""

    def _sweep(self, now: float) -> None:
        kept = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
        while len(kept) > MOST_BUCKETS:
            del kept[next(iter(kept))]
        self._full_at = kept
        # Doubling keeps the cost of sweeping, spread over the calls between, constant.
        self._sweep_above = min(MOST_BUCKETS, max(_FIRST_SWEEP, 2 * len(kept)))
