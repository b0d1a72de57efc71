"""Where a text changes its topic: between neighbouring sentences whose vectors are least alike.

Each sentence is embedded once, in batches, and only one number per gap is kept: memory does not grow with the number of
dimensions, and the cost is about that of embedding the document once more.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.techniques.splitting.sections import Outline, Section, outside, text_outline
from sibyl_runtime.techniques.splitting.tokens import Tokenize, TokenTable

LEAST_TOKENS = 12
"""Shorter sentences are joined with their neighbours: "See below." has no topic."""

MOST_TOKENS = 128
"""What is read of a sentence; a longer one says by then what it is about."""

MOST_CHARACTERS = 16 * MOST_TOKENS

WINDOW = 3
"""Sentences on either side of a gap that are compared: single ones differ more within a topic than topics do."""

Similarities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sentences:
    """The sentences of one document: where they start in `table.text`, and its places to cut."""

    table: TokenTable
    outline: Outline
    starts: Sequence[int]

    @classmethod
    def of(cls, text: str, tokenize: Tokenize, *, markdown: bool) -> Sentences:
        """Sentences of at least LEAST_TOKENS. A short rest of a paragraph goes with what stands before it, a short
        paragraph, such as a heading, with what follows; a fenced code block is one."""
        table = TokenTable(text, tokenize)
        outline = text_outline(text, markdown=markdown)
        return cls(table, outline, array("L", _starts(table, outline)))

    def gists(self, begin: int, most: int, tokenize: Tokenize, longest: int) -> list[str]:
        """What is embedded for `most` sentences from number `begin` on, each of at most `longest` tokens."""
        ends = [*self.starts[begin + 1 : begin + most + 1], len(self.table.text)]
        starts = self.starts[begin : begin + most]
        return [
            _gist(self.table.text[start : min(end, start + MOST_CHARACTERS)].strip(), tokenize, longest)
            for start, end in zip(starts, ends, strict=False)
        ]

    def outline_of_one(self) -> Outline:
        """The text as one section."""
        return replace(self.outline, sections=(Section(0, len(self.table.text)),))

    def topics(self, similarities: Similarities, percentile: float, budget: int) -> Outline:
        """Sections of one topic. One that is longer than `budget` tokens is best cut where it is least alike itself.

        `similarities` has one number for each gap between sentences.
        """
        breaks = [self.starts[gap + 1] for gap in topic_gaps(similarities, percentile)]
        edges = [0, *breaks, len(self.table.text)]
        sections = tuple(Section(start, end) for start, end in pairwise(edges))
        weak = [place for section in sections for place in self._weak(section, similarities, budget)]
        return Outline(sections, weak, self.outline.sentences, self.outline.fences)

    def _weak(self, section: Section, similarities: Similarities, budget: int) -> Iterator[int]:
        """Where to cut a section: again and again the least alike place in the second half of what fits."""
        begin, budget = section.start, max(1, budget)
        while self.table.count(begin, section.end) > budget:
            farthest = min(self.table.reach(begin, budget), section.end - 1)
            low = bisect_left(self.starts, self.table.reach(begin, max(1, budget // 2)))
            high = max(bisect_right(self.starts, farthest), low + 1)
            if low >= len(self.starts) or self.starts[low] >= section.end:
                return
            begin = self.starts[low + int(np.argmin(similarities[low - 1 : high - 1]))]
            yield begin


class Gaps:
    """Compares what stands before and after each gap, as the vectors arrive."""

    def __init__(self) -> None:
        self._recent: npt.NDArray[np.float64] | None = None
        self._next = 0
        self._found = array("f")

    def add(self, vectors: Vectors) -> None:
        """The vectors of the next sentences, shape (n, dimension)."""
        new = vectors.astype(np.float64)
        recent = new if self._recent is None else np.concatenate([self._recent, new])
        ready = len(recent) - WINDOW
        self._measure(recent, ready)
        spare = max(0, self._next - WINDOW + 1)
        self._recent, self._next = recent[spare:], self._next - spare

    def finish(self) -> Similarities:
        """The similarity at each gap, -1 to 1; one fewer than there were vectors."""
        if self._recent is not None:
            self._measure(self._recent, len(self._recent) - 1)
        return np.array(self._found, dtype=np.float32)

    def _measure(self, recent: npt.NDArray[np.float64], ready: int) -> None:
        """The gaps after the rows from `_next` up to `ready`."""
        for row in range(self._next, ready):
            before = recent[max(0, row + 1 - WINDOW) : row + 1].sum(axis=0)
            after = recent[row + 1 : row + 1 + WINDOW].sum(axis=0)
            norm = float(np.linalg.norm(before) * np.linalg.norm(after))
            self._found.append(float(before @ after) / norm if norm else 0.0)
        self._next = max(self._next, ready)


def topic_gaps(similarities: Similarities, percentile: float) -> list[int]:
    """The gaps that are less alike than `percentile` percent of all, and less than the gaps beside them.

    A text that is alike all over has none: a gap must also be below the median.
    """
    if not len(similarities):
        return []
    low = np.percentile(similarities, 100 - percentile)
    padded = np.concatenate([[np.inf], similarities, [np.inf]])
    lowest = (similarities < padded[:-2]) & (similarities <= padded[2:])
    chosen = (similarities <= low) & (similarities < np.median(similarities)) & lowest
    return [int(gap) for gap in np.flatnonzero(chosen)]


def _starts(table: TokenTable, outline: Outline) -> Iterator[int]:
    """Where sentences start, as `Sentences.of` says; the first is 0."""
    paragraphs = set(outline.paragraphs)
    end = len(table.text)
    start = paragraph = 0
    alone = True
    for place in [*(place for place in outside(outline.sentences, outline.fences) if place > 0), end]:
        ends = place == end or place in paragraphs
        if table.count(start, place) >= LEAST_TOKENS:
            yield start
            start, alone = place, False
        elif ends and start > paragraph:
            start = place
        if ends:
            paragraph = place
    if alone:
        yield 0


def _gist(text: str, tokenize: Tokenize, longest: int) -> str:
    tokens = tokenize(text)
    while len(tokens) > longest:
        text = text[: min(tokens[longest].start, len(text) - 1)]
        tokens = tokenize(text)
    return text
