"""SQL by its statements: each ends at a semicolon that is in no string, comment or quoted body."""

from __future__ import annotations

import re

from sibyl_runtime.techniques.splitting.code.blocks import Block, signature, tiled

# Every alternative that opens something also ends with the text: no stretch is looked at twice.
_TOKEN = re.compile(
    r"""'[^']*(?:'|\Z) | "[^"]*(?:"|\Z) | `[^`]*(?:`|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z)
    | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?:(?P=tag)|\Z) | (?P<end>;[ \t\r]*(?:--[^\n]*)?\n?)""",
    re.VERBOSE | re.DOTALL,
)
_BEFORE = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)


def sql_blocks(text: str) -> list[Block]:
    """The statements, each with the comments above it; its first line is its signature."""
    found: list[Block] = []
    start = 0
    for match in _TOKEN.finditer(text):
        if match["end"]:
            found.append(Block(start, match.end(), _first_line(text, start, match.start())))
            start = match.end()
    rest = [Block(start, len(text), _first_line(text, start, len(text)))] if text[start:].strip() else []
    return tiled([*found, *rest], 0, len(text))


def _first_line(text: str, start: int, end: int) -> str:
    before = _BEFORE.match(text, start, end)
    begin = before.end() if before else start
    line = text.find("\n", begin, end)
    return signature(text[begin : end if line < 0 else line])
