"""Fills chunks: as much as fits, ended at the best place, each repeating the tail of the one before it.

Places to cut, best first: paragraphs, sentences, lines, words, then anywhere. A better place is taken when it leaves
the chunk at least half full, or always where the outline wants its pieces whole. A fenced code block is cut, between
lines, only when it alone is too long for a chunk.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sibyl_runtime.techniques.splitting.sections import Outline, Section, fences_within, line_starts, outside, within
from sibyl_runtime.techniques.splitting.tokens import TokenTable

CHARACTERS_PER_TOKEN = 64
"""A chunk is never longer than this times its tokens: a megabyte without a space may be a single token."""

SLACK = 8
"""Where the count comes this near to the limit, the chunk is tokenized to be sure. Counting tokens of the whole text
is exact for models that split at white space first; for others a cut at white space changes it by one or two."""

_VISIBLE = re.compile(r"\S")

Excess = Callable[[int, int], int]
"""By how many tokens text[start:end] as a chunk is too long, from tokenizing exactly that; at most 0 when it fits."""


@dataclass(frozen=True)
class Limits:
    """Tokens of a chunk's own text, tokens that it may repeat of the chunk before, and its longest text."""

    budget: int
    overlap: int
    characters: int

    def hold(self, tokens: int, characters: int) -> bool:
        """True when a text of this size fits into one chunk."""
        return tokens <= self.budget and characters <= self.characters


@dataclass(frozen=True)
class Cuts:
    """The places where one section may be cut, by rank, each ascending."""

    paragraphs: list[int]
    sentences: list[int]
    lines: list[int]
    words: list[int]
    whole: bool = False

    @classmethod
    def of(cls, table: TokenTable, outline: Outline, section: Section, limits: Limits) -> Cuts:
        """All places but those inside fenced code blocks; of one that is too long for a chunk, its lines count as
        sentences."""
        fences = fences_within(outline, section)
        whole = [(start, end) for start, end in fences if limits.hold(table.count(start, end), end - start)]
        lines = [start for fence in sorted({*fences} - {*whole}) for start in line_starts(table.text, *fence)]
        sentences = outside(within(outline.sentences, section), fences)
        return cls(
            paragraphs=outside(within(outline.paragraphs, section), fences),
            sentences=sorted([*sentences, *lines]) if lines else sentences,
            lines=outside(within(outline.lines, section), whole),
            words=outside(within(table.words, section), whole),
            whole=outline.whole,
        )

    @property
    def ranks(self) -> tuple[list[int], ...]:
        """The places by rank, best first."""
        return (self.paragraphs, self.sentences, self.lines, self.words)

    def rank(self, after: int, limit: int) -> int:
        """The best rank that has a place in after < place <= limit; one beyond the last when there is none."""
        for rank, places in enumerate(self.ranks):
            if bisect_right(places, limit) > bisect_right(places, after):
                return rank
        return len(self.ranks)

    def best(self, after: int, half: int, limit: int) -> int | None:
        """The best place to cut in after < place <= limit; the farthest one when none is beyond `half`."""
        farthest = None
        for places in self.ranks:
            index = bisect_right(places, limit) - 1
            if index >= 0 and places[index] > after:
                if self.whole or places[index] >= half:
                    return places[index]
                farthest = max(farthest or 0, places[index])
        return farthest

    def first(self, start: int, half: int, end: int) -> int:
        """Where to resume in start <= place < end: at a sentence not beyond `half`, else at a word, else at `end`."""
        sentence = bisect_left(self.sentences, start)
        if sentence < len(self.sentences) and self.sentences[sentence] <= min(half, end - 1):
            return self.sentences[sentence]
        word = bisect_left(self.words, start)
        return min(self.words[word], end) if word < len(self.words) else end


def pack(table: TokenTable, cuts: Cuts, section: Section, limits: Limits, excess: Excess) -> Iterator[tuple[int, int]]:
    """The chunks of a section as (start, end), in order, without a gap between them."""
    packer = _Packer(table, cuts, section, limits, excess)
    begin = covered = section.start
    inside_word = False
    while covered < section.end:
        if begin < covered and packer.tail_breaks(begin, covered):
            begin = covered
        cut = packer.soft_cut(begin, covered, inside_word=inside_word)
        if cut is None and begin < covered:
            begin = covered  # what follows is too long to stand beside a repeated tail
            continue
        inside_word = cut is None
        end = packer.hard_cut(begin) if cut is None else cut
        yield begin, end
        begin, covered = (end if inside_word else packer.resume(begin, end)), _next_visible(table.text, end)


def _next_visible(text: str, position: int) -> int:
    """The first character from `position` that is no white space: a further chunk has to add something to be seen."""
    found = _VISIBLE.search(text, position)
    return found.start() if found else len(text)


@dataclass(frozen=True)
class _Packer:
    table: TokenTable
    cuts: Cuts
    section: Section
    limits: Limits
    excess: Excess

    def soft_cut(self, begin: int, covered: int, *, inside_word: bool) -> int | None:
        """The end of the chunk that starts at `begin` and goes beyond `covered`; None when no place is near enough.

        `inside_word` tells that the chunk starts in the middle of a word, whose rest may count as anything.
        """
        budget = self.limits.budget
        while budget > 0:
            cut = self._best(begin, covered, budget)
            if cut is None:
                return None
            count = self.table.count(begin, cut)
            if not inside_word and count + SLACK <= self.limits.budget:
                return cut
            over = self.excess(begin, cut)
            if over <= 0:
                return cut
            budget = min(budget, count) - over
        return None

    def tail_breaks(self, begin: int, covered: int) -> bool:
        """True when the repeated tail text[begin:covered] is why a piece has to be cut that would fit without it."""
        if not self.cuts.whole:
            return False
        with_tail, without = self._limit(begin, self.limits.budget), self._limit(covered, self.limits.budget)
        if with_tail >= self.section.end:
            return False
        return without >= self.section.end or self.cuts.rank(covered, without) < self.cuts.rank(covered, with_tail)

    def hard_cut(self, begin: int) -> int:
        """An end inside a word that is itself too long; at least one character on."""
        end = min(self._limit(begin, self.limits.budget), self.section.end)
        while end - begin > 1 and self.excess(begin, end) > 0:
            end = begin + (end - begin) // 2
        return max(end, begin + 1)

    def resume(self, begin: int, end: int) -> int:
        """Where the next chunk starts: `overlap` tokens before `end`, or a little later, at a sentence or word."""
        if not self.limits.overlap or end >= self.section.end:
            return end
        earliest = max(self.table.back(end, self.limits.overlap), self.table.reach(begin, 1))
        return self.cuts.first(earliest, self.table.back(end, (self.limits.overlap + 1) // 2), end)

    def _best(self, begin: int, covered: int, budget: int) -> int | None:
        limit = self._limit(begin, budget)
        if limit >= self.section.end:
            return self.section.end
        return self.cuts.best(max(begin, covered), self.table.reach(begin, budget // 2), limit)

    def _limit(self, begin: int, budget: int) -> int:
        return min(self.table.reach(begin, budget), begin + self.limits.characters)
