"""HTML as Markdown: what a person came to the page for, with its headings, lists, tables and code.

A page with a `main` is that element alone. Elsewhere navigation goes, and so do the headers, footers and asides of the
page, but not those of an article. What a browser does not show is left out everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import BinaryIO

from sibyl_runtime.extraction.markdown_writer import MarkdownWriter
from sibyl_runtime.extraction.part import Part

Attributes = list[tuple[str, str | None]]

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl", "dt",
        "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "legend", "main", "p", "section",
        "summary",
    }
)  # fmt: skip
_UNSEEN = frozenset(
    {
        "audio", "button", "canvas", "datalist", "iframe", "nav", "noscript", "object", "script", "select", "style",
        "svg", "template", "textarea", "video",
    }
)  # fmt: skip
_OF_THE_PAGE = frozenset({"aside", "footer", "header"})
_ROLES = frozenset({"banner", "complementary", "contentinfo", "navigation", "search"})
_BALANCED = frozenset(
    {"a", "aside", "div", "figure", "footer", "form", "header", "nav", "ol", "section", "span", "table", "ul"}
)
"""Elements that are closed by hand on any page: the end of a part that is left out can be told by counting them."""


def page(file: BinaryIO) -> Iterator[Part]:
    """The one part of a page, in UTF-8."""
    reader = _Reader()
    reader.feed(file.read().decode())
    reader.close()
    yield Part(reader.markdown(), " ".join("".join(reader.title).split()))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self._page = MarkdownWriter()
        self._main = MarkdownWriter()
        self._writer = self._page
        self._main_tag, self._main_depth = "", 0
        self._unseen_tag, self._unseen_depth = "", 0
        self._articles = 0
        self._in_title = False
        self._code: list[str] | None = None

    def markdown(self) -> str:
        """The main part if the page names one that holds text, else all of it."""
        self._end_code()
        return self._main.markdown() or self._page.markdown()

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        attributes = dict(attrs)
        is_main = tag == "main" or attributes.get("role") == "main"
        if self._unseen_depth and not is_main:
            self._unseen_depth += tag == self._unseen_tag
            return
        if self._is_unseen(tag, attributes):
            self._unseen_tag, self._unseen_depth = tag, 1
            return
        self._unseen_depth = 0
        if self._main_depth:
            self._main_depth += tag == self._main_tag
        elif is_main:
            self._enter_main(tag)
        self._articles += tag == "article"
        self._in_title = tag == "title"
        self._start(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen_depth:
            self._unseen_depth -= tag == self._unseen_tag
            return
        self._end(tag)
        self._in_title = False
        self._articles = max(0, self._articles - (tag == "article"))
        if self._main_depth and tag == self._main_tag:
            self._main_depth -= 1
            if not self._main_depth:
                self._writer.end_block()
                self._writer = self._page

    def handle_data(self, data: str) -> None:
        if self._unseen_depth:
            return
        if self._in_title:
            self.title.append(data)
        elif self._code is not None:
            self._code.append(data)
        else:
            self._writer.text(data)

    def _is_unseen(self, tag: str, attributes: dict[str, str | None]) -> bool:
        if tag in _UNSEEN:
            return True
        within = bool(self._main_depth or self._articles)
        if tag in _OF_THE_PAGE and not within:
            return True
        if tag not in _BALANCED:
            return False
        hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
        permalink = "headerlink" in (attributes.get("class") or "").split()
        return hidden or permalink or (attributes.get("role") in _ROLES and not within)

    def _enter_main(self, tag: str) -> None:
        self._writer.end_block()
        self._main_tag, self._main_depth, self._writer = tag, 1, self._main

    def _start(self, tag: str) -> None:
        if tag == "br":
            self._data_break()
        elif tag in ("ul", "ol", "menu"):
            self._writer.dissolve_row()
            self._writer.start_list(ordered=tag == "ol")
        elif tag == "li":
            self._writer.item()
        elif tag == "table":
            self._writer.dissolve_row()
            self._writer.start_table()
        elif tag == "tr":
            self._writer.start_row()
        elif tag in ("td", "th"):
            self._writer.start_cell()
        elif tag in _HEADINGS or tag == "pre":
            self._writer.dissolve_row()
            self._writer.end_block()
            if tag == "pre" and self._code is None:
                self._code = []
        elif tag in _BLOCKS:
            self._writer.end_block()

    def _end(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._writer.heading(_HEADINGS[tag])
        elif tag == "pre":
            self._end_code()
        elif tag in ("ul", "ol", "menu"):
            self._writer.end_list()
        elif tag in ("td", "th"):
            self._writer.end_cell()
        elif tag in ("tr", "table"):
            self._writer.end_row()
        elif tag in _BLOCKS or tag == "li":
            self._writer.end_block()

    def _data_break(self) -> None:
        if self._code is not None:
            self._code.append("\n")
        else:
            self._writer.line_break()

    def _end_code(self) -> None:
        if self._code is not None:
            self._writer.code("".join(self._code))
            self._code = None
