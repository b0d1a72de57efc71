"""Blocks of a program, and how they become sections: whole definitions together where they fit, else one by one.

A definition that is too long for a chunk is taken apart into what is defined in it. Its signature stays with every
piece, as the headings above a piece of Markdown do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sibyl_runtime.techniques.splitting.sections import Outline, Section, line_starts

LONGEST_SIGNATURE = 200
"""Characters of a signature that are kept; what follows is not what a reader looks for."""

MOST_NESTING = 8
"""Levels of definitions that are told apart; what is nested deeper is text."""

_BLANK_LINES = re.compile(r"\n[ \t\r]*\n(?:[ \t\r]*\n)*")

Fits = Callable[[int, int, tuple[str, ...]], bool]
"""Whether text[start:end], with these signatures before it, fits into one chunk."""


@dataclass(frozen=True)
class Block:
    """text[start:end], a definition, or without `signature` what stands between definitions.

    `inner` are the blocks that it is made of, without a gap between them; empty when it is one piece.
    """

    start: int
    end: int
    signature: str = ""
    inner: Sequence[Block] = ()


def code_outline(text: str, blocks: Sequence[Block], fits: Fits) -> Outline:
    """Sections of whole blocks. What is too long within one is cut at blank lines, then at lines."""
    blanks = [match.end() for match in _BLANK_LINES.finditer(text)]
    return Outline(tuple(_sections(blocks, fits, (), ())), blanks, line_starts(text, 0, len(text)))


def signature(written: str) -> str:
    """A signature on one line, without what opens its body."""
    return " ".join(written.split())[:LONGEST_SIGNATURE].rstrip(" {:")


def tiled(blocks: Sequence[Block], start: int, end: int) -> list[Block]:
    """The blocks, which ascend, with the stretches of text[start:end] between them as blocks without a signature."""
    tiles: list[Block] = []
    for block in blocks:
        if start < block.start:
            tiles.append(Block(start, block.start))
        tiles.append(block)
        start = block.end
    return [*tiles, Block(start, end)] if start < end else tiles


def _sections(blocks: Sequence[Block], fits: Fits, path: tuple[str, ...], lead: tuple[str, ...]) -> Iterator[Section]:
    """`path` are the signatures around the blocks, `lead` those that the first block does not show itself."""
    begin: int | None = None
    end = 0
    for block in blocks:
        if begin is not None and not fits(begin, block.end, path):
            yield Section(begin, end, path, lead)
            begin, lead = None, path
        if begin is None and not fits(block.start, block.end, path):
            yield from _apart(block, fits, path, lead)
            lead = path
            continue
        begin, end = (block.start if begin is None else begin), block.end
    if begin is not None:
        yield Section(begin, end, path, lead)


def _apart(block: Block, fits: Fits, path: tuple[str, ...], lead: tuple[str, ...]) -> Iterator[Section]:
    within = (*path, block.signature) if block.signature else path
    if block.inner:
        yield from _sections(block.inner, fits, within, lead)
    else:
        yield Section(block.start, block.end, within, lead)
