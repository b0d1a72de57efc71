"""What the engine tells about its own work; the process turns it into metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from sibyl_operator.reconcile.key import Key


class Telemetry(Protocol):
    """Counters and gauges of the engine. No method raises or waits."""

    def applied(self, kind: str, result: str) -> None:
        """One write of a child: result is created, updated, deleted, refused or failed."""
        ...

    def watched(self, kind: str) -> None:
        """One watch event came in."""
        ...

    def reconciled(self, result: str, seconds: float) -> None:
        """One pass ended: result is ready, waiting, stalled, paused, gone or error."""
        ...

    def conditions(self, key: Key, found: Iterable[tuple[str, str]]) -> None:
        """The conditions of a workspace now, as (type, status)."""
        ...

    def forget(self, key: Key) -> None:
        """The workspace is gone, and its series with it."""
        ...
