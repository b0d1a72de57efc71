"""What Markdown says about itself: front matter, headings, fenced code and blocks, as positions in the text.

Only structure that matters for cutting is read; emphasis, links and the like stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from sibyl_runtime.techniques.documents.events import Unreadable
from sibyl_runtime.techniques.documents.metadata import plain_metadata

_LINE = re.compile(r"[^\n]*(?:\n|\Z)")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?P<yaml>(?:.*?\n)?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_MOST_FRONT_MATTER = 65_536
_LONGEST_HEADING = 1_000
_ATX = re.compile(r" {0,3}(?P<marks>#{1,6})(?:[ \t]+(?P<title>.*?))??(?:[ \t]+#+)?[ \t]*\n?\Z")
_SETEXT = re.compile(r" {0,3}(?P<mark>=+|-+)[ \t]*\n?\Z")
_FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}|~{3,})(?P<info>.*)\n?\Z")
_NOT_A_PARAGRAPH = re.compile(r"\s*(?:[-*+>|]|\d{1,9}[.)]\s|\Z)")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_ANCHOR = re.compile(r"\s*\{#[^}\n]*\}\s*\Z")


@dataclass(frozen=True)
class Heading:
    """A heading with the positions of its lines, end exclusive; `level` 1 to 6."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True)
class Structure:
    """Positions in a text: headings, fenced code blocks (start, end), and where blocks begin, all ascending."""

    headings: list[Heading] = field(default_factory=list)
    fences: list[tuple[int, int]] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The metadata at the head of a Markdown file, and the text after it.

    Raises Unreadable for front matter that is not valid YAML. A file that merely starts with a line of dashes has
    none.
    """
    found = _FRONT_MATTER.match(text)
    if found is None:
        return {}, text
    if len(found["yaml"]) > _MOST_FRONT_MATTER:
        raise Unreadable(f"its front matter is longer than {_MOST_FRONT_MATTER:,} characters")
    try:
        values = yaml.safe_load(found["yaml"])
    except yaml.YAMLError as error:
        raise Unreadable(f"its front matter is not valid YAML: {_where(error)}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its front matter cannot be read: {error}") from error
    if values is None:
        return {}, text[found.end() :]
    return (plain_metadata(values), text[found.end() :]) if isinstance(values, dict) else ({}, text)


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} (line {mark.line + 2})" if mark is not None else str(problem)


def structure(text: str) -> Structure:
    """Read the structure of a Markdown text, in one pass over its lines."""
    reader = _Reader(text)
    for match in _LINE.finditer(text):
        if match.start() < len(text):
            reader.line(match.start(), match.group())
    return reader.finish()


def first_heading(text: str) -> str:
    """The first heading that has a text, else an empty one."""
    return next((heading.title for heading in structure(text).headings if heading.title), "")


def plain_structure(text: str) -> Structure:
    """The blocks of a text without markup: stretches between blank lines."""
    return Structure(blocks=[0, *(match.end() for match in re.finditer(r"\n[ \t]*\n\s*", text))])


class _Reader:
    """Looks at one line at a time; knows whether it is inside a fence and what the line before was."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found = Structure()
        self._fence: tuple[int, str] | None = None
        self._blank_before = True
        self._paragraph_line: int | None = None
        """Start of the line before, when it is alone in its paragraph: a line that may turn out to be a heading."""

    def line(self, start: int, line: str) -> None:
        if self._fence is not None:
            self._inside_fence(start, line)
        elif not line.strip():
            self._blank_before, self._paragraph_line = True, None
        elif (fence := _FENCE.match(line)) and not ("`" in fence["mark"] and "`" in fence["info"]):
            self._block(start)
            self._fence = (start, fence["mark"])
        elif len(line) <= _LONGEST_HEADING and (atx := _ATX.match(line)):
            self._heading(Heading(start, start + len(line), len(atx["marks"]), plain_title(atx["title"] or "")))
        elif (setext := _SETEXT.match(line)) and self._paragraph_line is not None:
            self._underlined(start, line, 1 if setext["mark"][0] == "=" else 2)
        else:
            self._text_line(start, line)

    def finish(self) -> Structure:
        if self._fence is not None:
            self._found.fences.append((self._fence[0], len(self._text)))
        return self._found

    def _inside_fence(self, start: int, line: str) -> None:
        assert self._fence is not None
        opened, mark = self._fence
        stripped = line.strip()
        if len(stripped) >= len(mark) and stripped == mark[0] * len(stripped):
            self._found.fences.append((opened, start + len(line)))
            self._fence, self._blank_before = None, True

    def _text_line(self, start: int, line: str) -> None:
        alone = self._blank_before and not _NOT_A_PARAGRAPH.match(line)
        if self._blank_before:
            self._block(start)
        self._paragraph_line = start if alone else None
        self._blank_before = False

    def _underlined(self, start: int, line: str, level: int) -> None:
        first = self._paragraph_line if self._paragraph_line is not None else start
        self._found.blocks.pop()
        self._heading(Heading(first, start + len(line), level, plain_title(self._text[first:start])))

    def _heading(self, heading: Heading) -> None:
        self._block(heading.start)
        self._found.headings.append(heading)
        self._blank_before, self._paragraph_line = True, None

    def _block(self, start: int) -> None:
        self._found.blocks.append(start)


def plain_title(marked: str) -> str:
    """A heading's text without links, code marks, bold and anchors."""
    text = _ANCHOR.sub("", _LINK.sub(r"\1", marked))
    return " ".join(text.replace("`", "").replace("**", "").replace("__", "").split())
