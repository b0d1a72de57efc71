"""Blocks of text written as Markdown that our own reader of Markdown takes for the same blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LOOKS_LIKE_STRUCTURE = re.compile(r"#{1,6}(?:\s|\Z)|`{3}|~{3}|(?:=+|-+)\Z")
_TICKS = re.compile(r"`+")
_DEEPEST = 8
"""Levels of lists that are told apart: a thousand of them would be more indentation than text."""
_TIGHT = {"item": ("item",), "row": ("head", "row")}
"""Blocks of a kind follow these without a blank line."""


@dataclass
class _List:
    ordered: bool
    count: int = 0


@dataclass
class MarkdownWriter:
    """Takes text and the ends of blocks in the order of a page. White space is that of a page: runs of it are one."""

    _blocks: list[tuple[str, str]] = field(default_factory=list)
    _inline: list[str] = field(default_factory=list)
    _lists: list[_List] = field(default_factory=list)
    _marker: str = ""
    _cells: list[str] | None = None
    """The row that is being written, if one is."""
    _in_cell: bool = False
    _rows: int = 0

    def text(self, data: str) -> None:
        """Text inside the current block."""
        self._inline.append(re.sub(r"\s+", " ", data))

    def line_break(self) -> None:
        """A new line in the same block."""
        self._inline.append("\n")

    def end_block(self) -> None:
        """Write what has been gathered as a paragraph, or as a part of the item or cell that is open."""
        if self._cells is not None:
            self._inline.append(" ")
        elif lines := self._taken():
            indent = "  " * min(_DEEPEST, max(0, len(self._lists) - 1))
            marker, self._marker = self._marker, ""
            rest = indent + "  " if self._lists else ""
            first = f"{indent}{marker}" if marker else rest
            self._blocks.append(("item" if marker else "text", first + f"\n{rest}".join(map(_escaped, lines))))

    def heading(self, level: int) -> None:
        """Write what has been gathered as a heading of this level, 1 to 6."""
        if title := " ".join(self._taken()).removesuffix("¶").strip():
            self._blocks.append(("text", f"{'#' * level} {title}"))

    def code(self, content: str) -> None:
        """A block whose white space matters."""
        lines = content.strip("\n")
        if lines.strip():
            fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(lines)), default=0))
            self._blocks.append(("text", f"{fence}\n{lines.rstrip()}\n{fence}"))

    def start_list(self, *, ordered: bool) -> None:
        """A list, maybe inside an item of another one."""
        self.end_block()
        self._lists.append(_List(ordered))

    def item(self) -> None:
        """The next item of the innermost list."""
        self.end_block()
        if self._lists:
            self._lists[-1].count += 1
            self._marker = f"{self._lists[-1].count}. " if self._lists[-1].ordered else "- "

    def end_list(self) -> None:
        """The innermost list ends."""
        self.end_block()
        self._marker = ""
        if self._lists:
            self._lists.pop()

    def start_table(self) -> None:
        """Rows from here on are those of a new table."""
        self.end_row()
        self.end_block()
        self._rows = 0

    def start_row(self) -> None:
        """The cells from here on are one row."""
        self.end_row()
        self.end_block()
        self._cells = []

    def start_cell(self) -> None:
        """What comes from here on is a cell, or a paragraph where the row has been dissolved."""
        self.end_cell()
        self._in_cell = self._cells is not None

    def end_cell(self) -> None:
        """What has been gathered is a cell."""
        if self._cells is None:
            self.end_block()
        elif self._in_cell:
            self._cells.append(" ".join(self._taken()).replace("|", r"\|"))
            self._in_cell = False

    def end_row(self) -> None:
        """Write the cells as a row; the first row of a table is its head."""
        if self._cells is None:
            return
        self.end_cell()
        cells, self._cells = self._cells, None
        if not any(cells):
            return
        row = f"| {' | '.join(cells)} |"
        self._blocks.append(("row", row) if self._rows else ("head", f"{row}\n|{'---|' * len(cells)}"))
        self._rows += 1

    def dissolve_row(self) -> None:
        """Something that no cell of Markdown can hold begins: the cells so far become paragraphs."""
        if self._cells is not None:
            self.end_cell()
            cells, self._cells = self._cells, None
            self._blocks.extend(("text", _escaped(cell)) for cell in cells if cell)

    def markdown(self) -> str:
        """All that was written."""
        self.end_row()
        self.end_block()
        parts: list[str] = []
        before = ""
        for kind, block in self._blocks:
            parts.append("\n" if before in _TIGHT.get(kind, ()) else "\n\n")
            parts.append(block)
            before = kind
        return "".join(parts).strip()

    def _taken(self) -> list[str]:
        lines = "".join(self._inline).split("\n")
        self._inline.clear()
        return [text for line in lines if (text := " ".join(line.split()))]


def _escaped(line: str) -> str:
    """A backslash keeps text from being read as a heading or a fence."""
    return f"\\{line}" if _LOOKS_LIKE_STRUCTURE.match(line) else line
