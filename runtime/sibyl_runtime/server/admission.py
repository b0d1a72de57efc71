"""Which tool calls run, and until when: a bounded number at once, none for a client that has gone."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.types import Receive

from sibyl_runtime.errors import Overloaded

FULL = "All {limit} places for requests are taken (mcp.max_concurrent_requests); try again shortly."


class ClientGone(Exception):
    """The client closed the connection before its answer."""


class ConcurrencyGate:
    """At most `limit` calls at once; the next is refused instead of queued, so that a queue never hides an overload.

    `full` is what the refused one is told; `retry_after` in seconds.
    """

    def __init__(self, limit: int, *, full: str = FULL, retry_after: float = 1.0) -> None:
        self._limit = limit
        self._full = full
        self._retry_after = retry_after
        self._running = 0
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Wait until fewer than a quarter of the places are taken: work that is not urgent is then in nobody's way."""
        await self._room.wait()

    def __enter__(self) -> None:
        """Raises Overloaded when every place is taken."""
        if self._running >= self._limit:
            raise Overloaded(self._full.format(limit=self._limit), retry_after=self._retry_after)
        self._running += 1
        if 4 * self._running >= self._limit:
            self._room.clear()

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if 4 * self._running < self._limit:
            self._room.set()


class CancelledWithClient:
    """Cancels the block when the client disconnects, and raises ClientGone from it.

    Entered after the body was read whole, so that the next message can only be the disconnect. Works as
    asyncio.timeout does: it cancels the current task and takes back its own cancellation, never another's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._finished = False

    async def __aenter__(self) -> None:
        """Start to watch."""
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to watch."""
        self._finished = True
        self._watcher.cancel()
        if self._gone and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientGone from error

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._finished:
            self._gone = True
            self._task.cancel()
