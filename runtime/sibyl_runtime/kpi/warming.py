"""What is counted of questions that are asked ahead of users. Exported only where a workspace warms its caches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from sibyl_runtime.kpi.families import Families

OUTCOMES: Final = ("computed", "found", "empty", "unkept", "failed")


class WarmingMetrics:
    """Rounds of cache warming. `now` in seconds since 1970."""

    def __init__(self, families: Families, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._queries = families.counter(
            "sibyl_cache_warming_queries_total", "Questions asked ahead of users, by outcome.", "outcome"
        )
        self._cost = families.counter(
            "sibyl_cache_warming_cost_usd_total", "Part of the cost of language models that questions asked ahead took."
        ).of()
        self._seconds = families.gauge("sibyl_cache_warming_seconds", "Time that the last round took.").of()
        self._ended = families.gauge(
            "sibyl_cache_warming_timestamp_seconds", "When the last round ended, in seconds since 1970; 0: none."
        ).of()
        self._queries.create(OUTCOMES)

    def spent(self, cost_usd: float | None) -> None:
        """A question was asked; None where its price is not known."""
        self._cost.inc(cost_usd or 0.0)

    def ended(self, counts: Mapping[str, int], seconds: float) -> None:
        """A round has ended; `counts` by outcome."""
        for outcome in OUTCOMES:
            self._queries.of(outcome).inc(counts[outcome])
        self._seconds.set(seconds)
        self._ended.set(self._now())
