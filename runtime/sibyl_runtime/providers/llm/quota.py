"""`rate_limit` of a provider: what would exceed it waits its turn, in order, and is refused when the turn is too late.

The window slides: in no minute are there more requests, or more tokens, than the limit. It is that of one process.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sibyl_runtime.errors import Overloaded, ProviderError

if TYPE_CHECKING:
    from sibyl_runtime.providers.protocols import Generation, GenerationRequest
    from sibyl_runtime.workspace import LlmRateLimit

MINUTE = 60.0


class AboveQuota(ProviderError):
    """No turn can have so many tokens. A provider's failure to those that may ask another one; nothing was sent."""

    status = 500
    code = "tool_execution_error"


CHARACTERS_PER_TOKEN = 4
"""What English text has, roughly; the real number replaces the estimate when the answer is there."""


@dataclass(eq=False)
class Turn:
    """One request: when it may be sent, by the clock of the window, and the tokens that it takes."""

    at: float
    tokens: int


@dataclass
class QuotaWindow:
    """The turns of the last minute and those to come. Pure: time comes in as a number of seconds."""

    requests: int | None
    tokens: int | None
    _turns: deque[Turn] = field(default_factory=deque)

    def fits(self, tokens: int) -> bool:
        """Whether a request of so many tokens can ever have a turn."""
        return self.tokens is None or tokens <= self.tokens

    def next(self, now: float, tokens: int) -> float:
        """When a request of so many tokens would have its turn; never before one that was taken earlier."""
        self._forget(now)
        at = max(now, self._turns[-1].at) if self._turns else now
        if self.requests is not None and len(self._turns) >= self.requests:
            at = max(at, self._turns[-self.requests].at + MINUTE)
        if self.tokens is not None:
            at = max(at, self._when_tokens_are_free(at, tokens))
        return at

    def take(self, now: float, tokens: int) -> Turn:
        """Take the next turn. The caller waits until `at`, and gives it back if it does not use it."""
        turn = Turn(self.next(now, tokens), tokens)
        self._turns.append(turn)
        return turn

    def give_back(self, turn: Turn) -> None:
        """The request was not sent. Turns after it keep their time."""
        if turn in self._turns:
            self._turns.remove(turn)

    def _when_tokens_are_free(self, at: float, tokens: int) -> float:
        assert self.tokens is not None
        taken = sum(turn.tokens for turn in self._turns if turn.at > at - MINUTE)
        for turn in self._turns:
            if taken + tokens <= self.tokens:
                break
            if turn.at > at - MINUTE:
                taken -= turn.tokens
                at = turn.at + MINUTE
        return at

    def _forget(self, now: float) -> None:
        while self._turns and self._turns[0].at <= now - MINUTE:
            self._turns.popleft()


class Quota:
    """The limit of one provider, waited for."""

    def __init__(
        self,
        name: str,
        limit: LlmRateLimit,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float],
    ) -> None:
        self._field = f"providers.llm.{name}.rate_limit"
        self._limit = limit
        self._window = QuotaWindow(limit.requests_per_minute, limit.tokens_per_minute)
        self._sleep, self._clock = sleep, clock

    async def turn(self, tokens: int, *, within: float) -> Turn:
        """Wait for a turn, at most `within` seconds.

        Raises Overloaded at once when the turn comes later, AboveQuota when no turn can have so many tokens.
        """
        if not self._window.fits(tokens):
            raise AboveQuota(
                f"the request takes about {tokens:,} tokens, prompt and longest answer together, and never fits "
                f"{self._field}.tokens_per_minute ({self._limit.tokens_per_minute:,}); ask for fewer chunks, or have "
                "that limit raised or max_tokens lowered in the workspace"
            )
        now = self._clock()
        wait = self._window.next(now, tokens) - now
        if wait > 0 and wait >= within:
            raise Overloaded(
                f"{self._field} is used up for the next {wait:.1f} s, longer than this request may wait; try again "
                "then, or raise it",
                retry_after=wait,
            )
        turn = self._window.take(now, tokens)
        if wait > 0:
            try:
                await self._sleep(wait)
            except asyncio.CancelledError:
                self._window.give_back(turn)
                raise
        return turn

    @staticmethod
    def settle(turn: Turn, answer: Generation) -> None:
        """Put what was really used in the place of the estimate, where the server counts."""
        turn.tokens = answer.prompt_tokens + answer.completion_tokens or turn.tokens


def estimated_tokens(request: GenerationRequest, max_tokens: int | None) -> int:
    """What a request will take, prompt and longest answer; without a bound the answer is counted afterwards."""
    return math.ceil(len(request.prompt) / CHARACTERS_PER_TOKEN) + (max_tokens or 0)
