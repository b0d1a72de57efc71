"""One server for a whole test run, however many conftest files ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedServer(Generic[T]):
    """Starts with its first user and stops with its last. pytest makes a fixture of its own for every conftest that
    imports one; all of them meet here."""

    def __init__(self, start: Callable[[], T], stop: Callable[[T], None]) -> None:
        self._start = start
        self._stop = stop
        self._users = 0
        self._server: T | None = None

    @contextlib.contextmanager
    def use(self) -> Iterator[T]:
        """The running server."""
        if self._server is None:
            self._server = self._start()
        self._users += 1
        try:
            yield self._server
        finally:
            self._users -= 1
            if self._users == 0:
                server, self._server = self._server, None
                self._stop(server)
