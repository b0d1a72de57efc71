"""Calls of tools that no caller makes: the seam through which a step asks questions of the runtime that it runs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sibyl_runtime.pipeline.deadline import Deadline


@dataclass(frozen=True)
class Answered:
    """What became of a call. `found`: the answer was kept already. `empty`: nothing was found, and nothing is kept.

    `cost_usd` is None when the price is not known.
    """

    found: bool
    empty: bool
    tokens: int
    cost_usd: float | None


Ask = Callable[[str, Mapping[str, Any], Deadline], Awaitable[Answered]]
"""Calls the tool of this name with these arguments. Raises the SibylErrors of a call."""
