"""Program text of any language by its layout: what starts at the margin is a block, what is indented is in it.

Layout is what languages share, with braces or without, and it needs no grammar. Where it misleads, a cut is made at a
worse place, and nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sibyl_runtime.techniques.splitting.code.blocks import Block, signature, tiled

MOST_LEVELS = 3
"""Namespace, class and function. Loops and branches below these are no context to anybody."""

TAB = 4

_LINE = re.compile(r"(?P<margin>[ \t]*)(?P<rest>[^\n]*)(?:\n|\Z)")
# Goes on with the block before it: a brace alone, what closes, a further branch.
_CONTINUES = re.compile(r"[})\]{>]|</|(?:end|else|elif|elsif|except|catch|finally|rescue|then|do|done|fi|esac)\b")
# Goes with what follows it: comments, decorators, annotations, attributes, directives.
_PRECEDES = re.compile(r"//|/\*|\*|#|--|@|;;|%|\[\[?\w")


@dataclass(frozen=True)
class _Line:
    """A line that is not blank; `end` is behind its line break, `indent` in columns, `follows` without a blank line."""

    start: int
    end: int
    indent: int
    text: str
    follows: bool


def indented_blocks(text: str) -> list[Block]:
    """The blocks of a text, to three levels."""
    lines = list(_lines(text))
    return tiled(_blocks(lines, 1), 0, len(text)) if text else []


def _lines(text: str) -> Iterator[_Line]:
    follows = False
    for match in _LINE.finditer(text):
        written = match["rest"].rstrip()
        if written:
            indent = len(match["margin"].expandtabs(TAB))
            yield _Line(match.start(), match.end(), indent, written, follows)
        follows = bool(written)


def _blocks(lines: Sequence[_Line], level: int) -> list[Block]:
    """Those of the blocks at the margin of `lines` that hold something indented."""
    margin = min((line.indent for line in lines if not _PRECEDES.match(line.text)), default=0)
    starts = list(_starts(lines, margin))
    found: list[Block] = []
    for place, (first, head) in enumerate(starts):
        own = lines[head : starts[place + 1][0] if place + 1 < len(starts) else len(lines)]
        body = [line for line in own if line.indent > margin]
        if not body:
            continue
        start, end = lines[first].start, own[-1].end
        inner = _blocks(body, level + 1) if level < MOST_LEVELS else []
        found.append(Block(start, end, signature(own[0].text), tiled(inner, start, end) if inner else ()))
    return found


def _starts(lines: Sequence[_Line], margin: int) -> Iterator[tuple[int, int]]:
    """Where blocks start, as positions in `lines`: with what precedes a block, and at its first line itself."""
    waiting: int | None = None
    for position, line in enumerate(lines):
        if not line.follows:
            waiting = None
        if _PRECEDES.match(line.text):
            waiting = position if waiting is None else waiting
        elif line.indent <= margin and not _CONTINUES.match(line.text):
            yield (position if waiting is None else waiting), position
            waiting = None
        else:
            waiting = None
