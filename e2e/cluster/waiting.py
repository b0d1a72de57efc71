"""Wait for a condition instead of for a length of time: the only place of the test cluster that sleeps to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from e2e.cluster.errors import WaitTimeoutError

T = TypeVar("T")


def wait_until(
    probe: Callable[[], T | None],
    *,
    what: str,
    timeout: float = 30.0,
    interval: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `probe` until it returns something truthy, and return that.

    `timeout` and `interval` are seconds. Exceptions of the probe pass through.
    Raises WaitTimeoutError, naming `what` and the probe's last answer.
    """
    deadline = clock() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if clock() >= deadline:
            raise WaitTimeoutError(f"waited {timeout:g} s for {what}; the last answer was {answer!r}")
        sleep(interval)
