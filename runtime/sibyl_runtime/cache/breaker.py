"""A circuit breaker: after a failure, leave a service alone for a while instead of paying its timeout every time."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Open after one failure, for `shortest` seconds, twice as long after each further one, `longest` at most.

    When the pause is over, one caller may try; the others are still refused until it has reported.
    """

    def __init__(
        self, *, shortest: float = 1.0, longest: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shortest = shortest
        self._longest = longest
        self._clock = clock
        self._pause = 0.0
        self._open_until = 0.0
        self._trying = False

    @property
    def closed(self) -> bool:
        """True while all is well."""
        return self._pause == 0.0

    def allows(self) -> bool:
        """Whether the caller may try now. A caller that may must report `success` or `failure`."""
        if self.closed:
            return True
        if self._clock() < self._open_until:
            return False
        # The next trial is due only after another pause, should this one never report.
        self._open_until = self._clock() + self._pause
        self._trying = True
        return True

    def success(self) -> bool:
        """The service answered; True when that is news."""
        recovered = not self.closed
        self._pause = 0.0
        self._trying = False
        return recovered

    def failure(self) -> bool:
        """The service failed; True when that is news. Of calls that were under way together, the first one counts."""
        fresh = self.closed
        if not fresh and not self._trying:
            return False
        self._trying = False
        self._pause = self._shortest if fresh else min(2 * self._pause, self._longest)
        self._open_until = self._clock() + self._pause
        return fresh
