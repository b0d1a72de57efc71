"""The last write that the server refused, remembered until one succeeds: a load may be over when somebody looks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sibyl_runtime.errors import DatabaseUnavailable


def _now() -> datetime:
    return datetime.now(UTC)


class Writes:
    """Watches writes. A lost connection is no refusal: that the server is away shows by itself."""

    def __init__(self, *, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._failed: Mapping[str, Any] | None = None
        self._version_after: int | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Around one write."""
        try:
            yield
        except DatabaseUnavailable as error:
            if "sqlstate" in error.details:
                at = self._clock().isoformat(timespec="seconds")
                self._version_after = None
                self._failed = {"at": at, "error": error.message, "sqlstate": error.details["sqlstate"]}
            raise
        self._failed = None

    def saw(self, version: int) -> None:
        """The collection has this version. When it has moved on since it was first seen after the failure, a write has
        succeeded, be it another process's."""
        if self._version_after is None:
            self._version_after = version
        elif version > self._version_after:
            self._failed = None

    def remarks(self) -> dict[str, Any]:
        """`last_failed_write` with when, why and its SQLSTATE; nothing when all is well."""
        return {} if self._failed is None else {"last_failed_write": dict(self._failed)}
