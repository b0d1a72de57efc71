"""Steps at the same time: who waits for whom, and what a failure breaks off. What a step is, the engine knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from sibyl_runtime.errors import SibylError
from sibyl_runtime.pipeline.listening import Event, Listener


@dataclass(frozen=True)
class Branch:
    """One of several works. `endures`: a failure of another one does not break it off."""

    work: Callable[[], Coroutine[Any, Any, object]]
    breaks_off: Callable[[SibylError], bool]
    """Whether a failure of this work breaks off the others."""
    endures: bool = False


async def side_by_side(branches: Sequence[Branch]) -> list[tuple[int, SibylError]]:
    """Run all at the same time until each has ended, been broken off, or failed.

    Returns the failures, each with the position of its branch, in the order in which they happened. Whoever gives up
    waiting for this ends them all. Raises what is no SibylError.
    """
    tasks = [asyncio.create_task(branch.work()) for branch in branches]
    failures: list[tuple[int, SibylError]] = []
    pending, broken_off = set(tasks), False
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            failed = [(index, error) for index, task in enumerate(tasks) if task in done and (error := _failure(task))]
            failures += failed
            if not broken_off and any(branches[index].breaks_off(error) for index, error in failed):
                broken_off = True
                for branch, task in zip(branches, tasks, strict=True):
                    if not branch.endures:
                        task.cancel()
    finally:
        for task in tasks:
            task.cancel()
        # Nothing of a run may go on after it: what was broken off is waited for.
        await asyncio.gather(*tasks, return_exceptions=True)
    return failures


def _failure(task: asyncio.Task[object]) -> SibylError | None:
    """What a task that has ended failed with; None when it was broken off. Raises what is no SibylError."""
    if task.cancelled():
        return None
    error = task.exception()
    if error is not None and not isinstance(error, SibylError):
        raise error
    return error


def in_turn(listener: Listener | None) -> Listener | None:
    """A listener for several works at once, that hears one event after the other."""
    if listener is None:
        return None
    told = listener
    lock = asyncio.Lock()

    async def one_at_a_time(event: Event) -> None:
        async with lock:
            await told(event)

    return one_at_a_time
