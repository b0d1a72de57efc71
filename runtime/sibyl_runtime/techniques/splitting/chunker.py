"""A document in, its chunks out: with the text that is embedded for each, which says where in the document it stands.

What the model reads is the path of headings above a chunk, then the chunk: "it does not scale" is found only when the
vector also knows that this is about read replicas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sibyl_runtime.store.records import Chunk, Document
from sibyl_runtime.techniques.splitting.code.blocks import code_outline
from sibyl_runtime.techniques.splitting.code.languages import program_blocks
from sibyl_runtime.techniques.splitting.code.sql import sql_blocks
from sibyl_runtime.techniques.splitting.packing import CHARACTERS_PER_TOKEN, Cuts, Limits, pack
from sibyl_runtime.techniques.splitting.sections import (
    Outline,
    Section,
    fixed_outline,
    recursive_outline,
    text_outline,
)
from sibyl_runtime.techniques.splitting.tokens import Tokenize, TokenTable

MARKERS = 2
"""Tokens that the model puts around every text."""

SEPARATOR = " > "


@dataclass(frozen=True)
class PlannedChunk:
    """A chunk, where its content starts in the document's text, and the text that is embedded for it.

    `chunk.tokens` counts the embedded text, the markers included.
    """

    chunk: Chunk
    start: int
    text: str


@dataclass(frozen=True)
class _Part:
    start: int
    content: str
    heading: str
    tokens: int
    embedded: str


class Chunker:
    """Cuts documents for one model. `chunk_size` and `chunk_overlap` are tokens; the markers count in the size."""

    def __init__(self, tokenize: Tokenize, *, subtechnique: str, chunk_size: int, chunk_overlap: int) -> None:
        self._tokenize = tokenize
        self._subtechnique = subtechnique
        self._room = chunk_size - MARKERS
        self._overlap = chunk_overlap

    def chunks(self, document: Document, *, markdown: bool) -> list[PlannedChunk]:
        """All chunks of a document, in order, cut by its text alone."""
        table = TokenTable(document.text, self._tokenize)
        return self.cut(document, table, self._outline(document, table, markdown=markdown))

    def cut(self, document: Document, table: TokenTable, outline: Outline) -> list[PlannedChunk]:
        """All chunks of a document, in order. White space at the edges of a chunk is dropped, nothing else is."""
        parts = [
            part for section in outline.sections for part in self._section(document.title, table, outline, section)
        ]
        return [
            PlannedChunk(Chunk(ordinal, part.content, part.heading, part.tokens), part.start, part.embedded)
            for ordinal, part in enumerate(parts)
        ]

    def budget(self, title: str, *signatures: str) -> int:
        """Tokens of its own text that a chunk has room for below the title and these headings."""
        return self._room - len(self._tokenize(self._prefix(_above(title, signatures, shown=signatures))))

    def _outline(self, document: Document, table: TokenTable, *, markdown: bool) -> Outline:
        text = document.text
        if self._subtechnique == "fixed":
            return fixed_outline(text)
        if self._subtechnique == "recursive":
            return recursive_outline(text, markdown=markdown)
        blocks = None
        if self._subtechnique == "code":
            blocks = program_blocks(document.id, text)
        elif self._subtechnique == "sql":
            blocks = sql_blocks(text)
        if blocks is None:
            return text_outline(text, markdown=markdown)
        return code_outline(text, blocks, partial(self._fits, document.title, table))

    def _fits(self, title: str, table: TokenTable, start: int, end: int, path: tuple[str, ...]) -> bool:
        return table.count(start, end) <= self.budget(title, *path)

    def _section(self, title: str, table: TokenTable, outline: Outline, section: Section) -> Iterator[_Part]:
        first = self._prefix(_above(title, section.lead, shown=section.path))
        later = self._prefix(_above(title, section.path, shown=section.path))
        counts = {prefix: len(self._tokenize(prefix)) for prefix in {first, later}}

        def part(start: int, end: int) -> _Part:
            prefix = first if start == section.start else later
            tokens = counts[prefix] + table.count(start, end) + MARKERS
            start, end = trimmed(table.text, start, end)
            content = table.text[start:end]
            return _Part(start, content, heading, tokens, f"{prefix}\n{content}" if prefix else content)

        def excess(start: int, end: int) -> int:
            return len(self._tokenize(part(start, end).embedded)) - self._room

        heading = SEPARATOR.join(section.path)
        limits = Limits(self._room - max(counts.values()), self._overlap, self._room * CHARACTERS_PER_TOKEN)
        cuts = Cuts.of(table, outline, section, limits)
        for start, end in pack(table, cuts, section, limits, excess):
            made = part(start, end)
            if made.content:
                yield made

    def _prefix(self, above: Sequence[str]) -> str:
        """The path that is embedded: the innermost headings, within half of the room."""
        for outermost in range(len(above)):
            path = SEPARATOR.join(above[outermost:])
            if len(self._tokenize(path)) <= self._room // 2:
                return path
        return ""


def _above(title: str, headings: tuple[str, ...], *, shown: tuple[str, ...]) -> tuple[str, ...]:
    """The document's title, unless a heading says the same, and the headings."""
    return headings if not title or title in shown else (title, *headings)


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """text[start:end] without white space at its end and blank lines at its start; indentation stays."""
    stretch = text[start:end]
    visible = len(stretch) - len(stretch.lstrip())
    end = start + len(stretch.rstrip())
    return min(end, start + stretch.rfind("\n", 0, visible) + 1), end
