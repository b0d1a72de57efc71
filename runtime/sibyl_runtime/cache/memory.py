"""The cache level inside the process: least recently used goes first, and nothing outlives its time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from sibyl_runtime.cache.protocol import Jitter, LevelStats, spread


class MemoryCache:
    """At most `max_size` entries, each for about `ttl` seconds. Lost with the process, shared with nobody."""

    def __init__(
        self, *, max_size: int, ttl: float, clock: Callable[[], float] = time.monotonic, jitter: Jitter = spread
    ) -> None:
        self._max_size = max_size
        self._ttl = ttl
        self._clock = clock
        self._jitter = jitter
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._hits = 0
        self._misses = 0
        self._bytes = 0
        self._evictions = 0

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it was never kept, pushed out, or is too old."""
        entry = self._entries.get(key)
        if entry is not None and entry[0] <= self._clock():
            self._remove(key)
            entry = None
        if entry is None:
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return entry[1]

    async def set(self, key: str, value: bytes) -> None:
        """Keep the value; the entry that was unused longest makes room."""
        self._remove(key)
        self._entries[key] = (self._clock() + self._jitter(self._ttl), value)
        self._bytes += _size(key, value)
        while len(self._entries) > self._max_size:
            self._remove(next(iter(self._entries)))
            self._evictions += 1

    def stats(self) -> dict[str, LevelStats]:
        """Counts of this level."""
        return {
            "memory": LevelStats(
                self._hits,
                self._misses,
                entries=len(self._entries),
                size_bytes=self._bytes,
                evictions=self._evictions,
            )
        }

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[1])


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value)
