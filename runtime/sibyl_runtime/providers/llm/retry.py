"""When a failed request is sent again: pure, so that every wait can be told ahead.

Waits are drawn evenly from 0 to a ceiling ("full jitter"): clients that failed together do not come back together.
The ceiling starts at `retry_delay` and, with `exponential_backoff`, doubles with each retry. A server that says how
long to wait is taken at its word. A wait that would outlast the time left is not begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sibyl_runtime.workspace import LlmProvider

LONGEST_CEILING = 8.0
"""Seconds that doubling ends at. A `retry_delay` above it is kept as it is."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and after how long. `delay` in seconds is the first ceiling."""

    retries: int
    delay: float
    exponential: bool

    @classmethod
    def of(cls, provider: LlmProvider) -> RetryPolicy:
        """The policy that a provider is configured with."""
        return cls(provider.max_retries, provider.retry_delay, provider.exponential_backoff)

    def ceiling(self, attempt: int) -> float:
        """The longest wait after the failure of `attempt`, counted from 1, in seconds."""
        if not self.exponential:
            return self.delay
        return max(self.delay, min(self.delay * 2.0 ** (attempt - 1), LONGEST_CEILING))

    def wait(self, attempt: int, *, asked: float | None, left: float, drawn: float) -> float | None:
        """Seconds to wait after the failure of `attempt`; None when there should be no further one.

        `asked` is what the server said, `left` how much time there is, `drawn` a random number from 0 to 1.
        """
        if attempt > self.retries:
            return None
        wait = self.ceiling(attempt) * drawn if asked is None else asked
        return wait if wait < left else None
