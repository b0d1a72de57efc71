"""Waiting for something to become true, instead of sleeping for as long as it usually takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let other tasks and threads run until `condition` holds. Raises TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is about threads and processes, which set no event
            await asyncio.sleep(0)


def eventually(
    condition: Callable[[], object],
    told: Callable[[], str] = lambda: "the condition did not come true",
    *,
    within: float = 60.0,
) -> float:
    """Wait for what another process does. The seconds it took; fails after `within`, and says what `told` returns."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within, told()
        time.sleep(0.05)
    return time.monotonic() - started
