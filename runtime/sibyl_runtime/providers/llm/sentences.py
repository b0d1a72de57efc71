"""Cuts Markdown into sentences that can stand in an answer.

Layout is respected: a list item and a table row are their own sentences, a heading lends its words to what follows it
but is no answer itself, and a code block stays whole and goes with the sentence that introduces it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

_FENCE = re.compile(r"^\s*(```+|~~~+)")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*$")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s+(.*)$")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_ROW = re.compile(r"^\s*\|(.*)\|\s*$")
_ROW_RULE = re.compile(r"^[\s|:-]+$")
_QUOTE = re.compile(r"^\s*>\s?")

# After a full stop, before a capital, digit, quote or code; or a full stop with spaces around, as old corpora have it.
_END = re.compile(r"""(?<=[.!?])["')\]]*\s+(?=["'(\[]*[A-Z0-9`])|\s+\.\s+|(?<=[。！？])""")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|approx|Dr|Mr|Mrs|Ms|Fig|No|St)|\b[A-Z])\.$")

_IMAGE_OR_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE_SPAN = re.compile(r"(`+[^`]+`+)")
_EMPHASIS = re.compile(r"(?<!\w)(\*\*|__|\*|_)(?=\S)(.+?)(?<=\S)\1(?!\w)")

# Code longer than this is a listing, not part of an answer.
LONGEST_CODE = 400

FENCE = "```"


@dataclass(frozen=True)
class Sentence:
    """`text` may hold a code block after a line break. `heading` is the nearest heading above it, or empty."""

    text: str
    heading: str

    @property
    def prose(self) -> str:
        """The sentence without its code."""
        return self.text.partition(f"\n{FENCE}\n")[0]


def split_markdown(text: str) -> list[Sentence]:
    """The sentences of `text` in reading order."""
    found: list[Sentence] = []
    heading = ""
    for kind, content in _blocks(_without_table_heads(text.splitlines())):
        if kind == "heading":
            heading = plain(content)
        elif kind == "code":
            _attach_code(found, content)
        else:
            found += [Sentence(sentence, heading) for sentence in split_prose(plain(content))]
    return found


def split_prose(text: str) -> list[str]:
    """Sentences of running text without markup. Abbreviations and initials do not end one."""
    sentences: list[str] = []
    start = 0
    for end in _END.finditer(text):
        candidate = text[start : end.start()].strip()
        if _ABBREVIATION.search(candidate):
            continue
        sentences.append(candidate)
        start = end.end()
    return [sentence for sentence in [*sentences, text[start:].strip()] if any(map(str.isalnum, sentence))]


def plain(text: str) -> str:
    """`text` on one line, links and emphasis reduced to their words; code stays as it is written."""
    parts = _CODE_SPAN.split(_IMAGE_OR_LINK.sub(r"\1", " ".join(text.split())))
    # Every second part is code.
    return "".join(part if number % 2 else _EMPHASIS.sub(r"\2", part) for number, part in enumerate(parts))


def _blocks(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(kind, content): heading, code or prose. A paragraph, a list item and a table row are one prose block each."""
    paragraph: list[str] = []
    remaining = iter(lines)
    for line in remaining:
        block = _code(line, remaining) or _special(line)
        if block is None:
            paragraph.append(_QUOTE.sub("", line))
            continue
        if paragraph:
            yield "prose", "\n".join(paragraph)
        kind, content = block
        paragraph = [content] if kind == "item" else []
        if kind in ("heading", "code", "prose"):
            yield block
    if paragraph:
        yield "prose", "\n".join(paragraph)


def _without_table_heads(lines: Sequence[str]) -> list[str]:
    """The lines but for the rows that only name the columns: those say nothing."""
    followers = [*lines[1:], ""][: len(lines)]
    return [line for line, below in zip(lines, followers, strict=True) if not (_ROW.match(line) and _is_rule(below))]


def _is_rule(line: str) -> bool:
    return bool(_ROW.match(line) and _ROW_RULE.match(line))


def _code(line: str, remaining: Iterator[str]) -> tuple[str, str] | None:
    """A code block that `line` opens. It ends with its fence, or with the text: a chunk may be cut inside code."""
    opening = _FENCE.match(line)
    if opening is None:
        return None
    return "code", "\n".join(takewhile(lambda inner: not inner.strip().startswith(opening.group(1)), remaining))


def _special(line: str) -> tuple[str, str] | None:
    """What a line that ends the paragraph before it is: a heading, an item, a table row, or only a break."""
    if not line.strip() or _RULE.match(line):
        return "break", ""
    if heading := _HEADING.match(line):
        return "heading", heading.group(1)
    if item := _ITEM.match(line):
        return "item", item.group(1)
    if row := _ROW.match(line):
        cells = [cell.strip() for cell in row.group(1).split("|")]
        return ("break", "") if _ROW_RULE.match(line) else ("prose", ", ".join(cell for cell in cells if cell))
    return None


def _attach_code(found: list[Sentence], code: str) -> None:
    if found and found[-1].text.endswith(":") and code.strip() and len(code) <= LONGEST_CODE:
        found[-1] = Sentence(f"{found[-1].text}\n{FENCE}\n{code}\n{FENCE}", found[-1].heading)
