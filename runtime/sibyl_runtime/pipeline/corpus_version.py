"""The version of the corpus, as those who keep what was made from it ask for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sibyl_runtime.store.records import VectorStore

VERSION_MAX_AGE = 1.0
"""Seconds for which the corpus version is taken as read.

Reading it is a round trip to the database, about as long as the search that a hit saves. Another process may ingest in
that second; its change is then seen at most a second late. An ingest of this process is seen at once. A version that
is too old never spoils the cache: what is computed meanwhile is kept under the old version, which is asked for no more.
"""


class CorpusVersion:
    """The store's corpus version, at most VERSION_MAX_AGE old, read once for all who ask together."""

    def __init__(self, store: VectorStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[float, int] | None = None
        self._changes = 0

    async def current(self) -> int:
        """Raises as VectorStore.counts does."""
        async with self._lock:
            if self._kept is not None and self._clock() - self._kept[0] <= VERSION_MAX_AGE:
                return self._kept[1]
            asked_at, changes = self._clock(), self._changes
            version = (await self._store.counts()).corpus_version
            # What was read before a change ended may be the version before it.
            self._kept = (asked_at, version) if changes == self._changes else None
            return version

    def forget(self) -> None:
        """The corpus has changed: read the version anew when next asked."""
        self._changes += 1
        self._kept = None
