"""The seam between whoever answers questions and wherever answers are kept."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class LevelStats:
    """Counts since the start; `errors` were treated as misses.

    What a level cannot tell is None: `entries` that it holds, `size_bytes` of their keys and values, and `evictions`,
    the entries that made room for others before their time.
    """

    hits: int
    misses: int
    entries: int | None = None
    errors: int = 0
    size_bytes: int | None = None
    evictions: int | None = None


class Cache(Protocol):
    """Keeps bytes under keys that say all that they depend on.

    No method raises for a fault of the cache: a fault is a miss.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value for the level's ttl."""

    def stats(self) -> dict[str, LevelStats]:
        """By level: `memory`, `redis`, `disk`."""

    async def close(self) -> None:
        """Release connections."""


JITTER = 0.1
Jitter = Callable[[float], float]


def spread(ttl: float) -> float:
    """`ttl` +-10 %: entries that were made together must not expire together."""
    return ttl * random.uniform(1 - JITTER, 1 + JITTER)
