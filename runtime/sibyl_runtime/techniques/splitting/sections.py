"""A document as sections that are cut apart from each other, each with the places where it may be cut within.

For Markdown a section is a heading with what stands below it. A heading with nothing below it goes with the section
that follows: alone it would be a chunk that says nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from sibyl_runtime.techniques.documents.markdown import Heading, Structure, plain_structure, structure

# Found by their white space: looking for the full stops first takes quadratic time on a line of dots.
_SENTENCE_END = re.compile(
    r"(?:(?<=[.!?…])|(?<=[.!?…][\"'”’)\]*_]))\s+|[。！？]+[”’」』）]*\s*|\n(?=[ \t]*(?:[-*+>|]|\d{1,9}[.)])[ \t|])"
)
_NEWLINE = re.compile(r"\n+")


@dataclass(frozen=True)
class Section:
    """text[start:end]; `path` are the headings above and of it, `lead` those that its own text does not show."""

    start: int
    end: int
    path: tuple[str, ...] = ()
    lead: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outline:
    """The sections of a text, its places to cut (paragraphs first, then sentences, then lines), its fenced code blocks.

    `whole` tells that a paragraph, sentence or line that fits into a chunk is never cut to fill the chunk before it.
    """

    sections: Sequence[Section]
    paragraphs: list[int]
    sentences: list[int]
    fences: Sequence[tuple[int, int]] = ()
    lines: list[int] = field(default_factory=list)
    whole: bool = False


def fixed_outline(text: str) -> Outline:
    """One section without any structure."""
    return Outline((Section(0, len(text)),), [], [])


def text_outline(text: str, *, markdown: bool) -> Outline:
    """Sections, paragraphs and sentences. Without `markdown`, a line that looks like a heading is a line."""
    found = structure(text) if markdown else plain_structure(text)
    sentences = sorted({*found.blocks, *(match.end() for match in _SENTENCE_END.finditer(text))})
    return Outline(tuple(_sections(text, found)), found.blocks, sentences, found.fences)


def recursive_outline(text: str, *, markdown: bool) -> Outline:
    """One section that is cut at paragraphs, those too long at sentences, those too long at lines, then at words.

    Sentences come before lines: in wrapped prose a line ends anywhere.
    """
    found = structure(text) if markdown else plain_structure(text)
    sentences = sorted({*found.blocks, *(match.end() for match in _SENTENCE_END.finditer(text))})
    lines = line_starts(text, 0, len(text))
    paragraphs = _without_heads(found)
    return Outline((Section(0, len(text)),), paragraphs, sentences, found.fences, lines, whole=True)


def _without_heads(found: Structure) -> list[int]:
    """The blocks of a text but for those right below a heading: a heading goes with what it heads."""
    below = {
        found.blocks[index]
        for heading in found.headings
        if (index := bisect_left(found.blocks, heading.end)) < len(found.blocks)
    }
    return [block for block in found.blocks if block not in below]


def within(places: Sequence[int], section: Section) -> list[int]:
    """The places of the section; `places` ascend."""
    begin = bisect_left(places, section.start)
    return list(places[begin : bisect_left(places, section.end, begin)])


def fences_within(outline: Outline, section: Section) -> Sequence[tuple[int, int]]:
    """The fenced code blocks of the section."""
    begin = bisect_left(outline.fences, section.start, key=itemgetter(0))
    return outline.fences[begin : bisect_left(outline.fences, section.end, begin, key=itemgetter(0))]


def outside(cuts: list[int], ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The cuts that are not strictly inside one of the ranges; both ascend."""
    kept: list[int] = []
    position = 0
    for start, end in ranges:
        inside = bisect_right(cuts, start, position)
        kept += cuts[position:inside]
        position = bisect_left(cuts, end, inside)
    return kept + cuts[position:]


def line_starts(text: str, start: int, end: int) -> list[int]:
    """Where the lines of text[start:end] begin, its first excepted."""
    return [match.end() for match in _NEWLINE.finditer(text, start, end) if match.end() < end]


def _sections(text: str, found: Structure) -> Iterator[Section]:
    headings = found.headings
    first = headings[0].start if headings else len(text)
    if first > 0:
        yield Section(0, first)
    above: list[Heading] = []
    begin = first
    lead: tuple[str, ...] = ()
    for index, heading in enumerate(headings):
        end = headings[index + 1].start if index + 1 < len(headings) else len(text)
        above = [other for other in above if other.level < heading.level]
        if begin == heading.start:
            lead = _titles(above)
        above.append(heading)
        if text[heading.end : end].strip() or end == len(text):
            yield Section(begin, end, _titles(above), lead)
            begin = end


def _titles(headings: Sequence[Heading]) -> tuple[str, ...]:
    return tuple(heading.title for heading in headings if heading.title)
