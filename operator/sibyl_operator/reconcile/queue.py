"""The work queue between events and workers: keys only, each at most once, never two workers on one key.

- A key that waits already is not added again: the pass that takes it will see the newest state anyway.
- A key that is being worked on is remembered and comes back when that work is done, so no change is missed.
- A delayed key is superseded by any pass that starts earlier; the outcome of that pass sets the next delay.
- Failures back off per key, with jitter, and are forgotten on success.

All time is the running event loop's.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class QueueClosed(Exception):
    """No key will come any more."""


@dataclass(frozen=True)
class Backoff:
    """Exponential delays in seconds, each shifted by up to `jitter` of itself in either direction."""

    first: float = 1.0
    longest: float = 300.0
    jitter: float = 0.2
    random: Callable[[], float] = random.random

    def delay(self, failures: int) -> float:
        """The pause after that many failures in a row (1 is the first), never above `longest`."""
        plain = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        return min(self.longest, plain * (1 + self.jitter * (2 * self.random() - 1)))


@dataclass
class WorkQueue(Generic[K]):
    """De-duplicating, delaying queue with backoff per key. Use from one event loop only.

    `on_wait` gets the seconds that a key waited for a worker, `on_retry` is called for every failure.
    """

    backoff: Backoff = field(default_factory=Backoff)
    on_wait: Callable[[float], None] = lambda _seconds: None
    on_retry: Callable[[], None] = lambda: None
    _ready: deque[K] = field(default_factory=deque)
    _pending: dict[K, float] = field(default_factory=dict)
    _active: set[K] = field(default_factory=set)
    _dirty: set[K] = field(default_factory=set)
    _delayed: dict[K, asyncio.TimerHandle] = field(default_factory=dict)
    _failures: dict[K, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def __len__(self) -> int:
        """How many keys wait for a worker now; delayed keys do not count."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """No key waits and none is being worked on; delayed keys do not count."""
        return not self._ready and not self._active

    def add(self, key: K) -> None:
        """Ask for a pass over the key, now."""
        if self._closed or key in self._pending:
            return
        if key in self._active:
            self._dirty.add(key)
            return
        self._pending[key] = asyncio.get_running_loop().time()
        self._ready.append(key)
        self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a pass after a delay; the earliest of several wins."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        waiting = self._delayed.get(key)
        if waiting is not None:
            if waiting.when() <= due:
                return
            waiting.cancel()
        self._delayed[key] = loop.call_at(due, self._due, key)

    def retry(self, key: K, *, at_least: float = 0.0) -> float:
        """Ask for another pass after a failure; returns the delay in seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = max(at_least, self.backoff.delay(self._failures[key]))
        self.on_retry()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Reset the backoff of a key, after a success."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Take the next key and keep it until `done`. Raises QueueClosed once closed and empty of ready keys."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            self._changed.clear()
            await self._changed.wait()
        key = self._ready.popleft()
        self.on_wait(asyncio.get_running_loop().time() - self._pending.pop(key))
        self._active.add(key)
        if (superseded := self._delayed.pop(key, None)) is not None:
            superseded.cancel()
        return key

    def done(self, key: K) -> None:
        """Give a key back; if it was asked for meanwhile it is ready again at once."""
        self._active.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def close(self) -> None:
        """Hand out nothing more: waiting and delayed keys are dropped, workers in `get` are released."""
        self._closed = True
        for handle in self._delayed.values():
            handle.cancel()
        self._delayed.clear()
        self._ready.clear()
        self._pending.clear()
        self._dirty.clear()
        self._changed.set()

    def _due(self, key: K) -> None:
        self._delayed.pop(key, None)
        self.add(key)
