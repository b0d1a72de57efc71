"""Source markers: `[1]` in an answer stands for the first passage, in every language model of this project."""

from __future__ import annotations

import re

_MARKER = re.compile(r"\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]")


def marker(position: int) -> str:
    """The marker of the passage at `position`, counted from 0."""
    return f"[{position + 1}]"


def cited_positions(text: str, passages: int) -> tuple[int, ...]:
    """Positions, counted from 0 and ascending, that `text` marks; `[1]`, `[1][3]` and `[1, 3]` all count.

    A number beyond `passages` is not a source: models invent them.
    """
    numbers = {int(number) for group in _MARKER.findall(text) for number in group.split(",")}
    return tuple(sorted(number - 1 for number in numbers if 1 <= number <= passages))


def without_markers(text: str) -> str:
    """`text` with numbers in square brackets in round ones: what a source calls [3] must not read as our third."""
    return _MARKER.sub(r"(\1)", text)
