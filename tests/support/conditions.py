"""Waiting for something to become true, instead of sleeping for as long as it usually takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let other tasks and threads run until `condition` holds. Raises TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is about threads and processes, which set no event
            await asyncio.sleep(0)
