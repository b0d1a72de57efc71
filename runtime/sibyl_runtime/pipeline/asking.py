"""Calls of tools that no caller makes: the seam through which a step asks questions of the runtime that it runs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sibyl_runtime.pipeline.deadline import Deadline

Outcome = Literal["found", "computed", "empty", "unkept", "lost"]


@dataclass(frozen=True)
class Answered:
    """What became of a call.

    `found`: its answer was kept already. `computed`: it is now. `empty`: nothing was found for the question, and
    nothing is kept. `unkept`: the answer was cut short, or made by a fallback, and is for one caller alone. `lost`: the
    answer is not where it was put. `cost_usd` is None when the price is not known.
    """

    outcome: Outcome
    tokens: int = 0
    cost_usd: float | None = 0.0


Ask = Callable[[str, Mapping[str, Any], Deadline], Awaitable[Answered]]
"""Calls the tool of this name with these arguments. Raises the SibylErrors of a call."""
