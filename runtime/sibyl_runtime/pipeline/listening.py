"""What a run tells while it runs, for a caller who reads the answer as it is made.

The listener is awaited: who reads slowly slows the run down, and nothing piles up between the two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StageEnded:
    """A stage of a step has ended; `seconds` is what it took, `started` when it began, in seconds after the run."""

    step: str
    stage: str
    seconds: float
    started: float = 0.0


@dataclass(frozen=True)
class SourcesFound:
    """What the answer will rest on, best first. Which of them it cites is known when it is written."""

    sources: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class AnswerText:
    """The next part of the answer. All parts together are the answer."""

    text: str


Event = StageEnded | SourcesFound | AnswerText
Listener = Callable[[Event], Awaitable[None]]
