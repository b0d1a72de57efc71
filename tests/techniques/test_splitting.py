"""Chunks cover the text, keep their size, their order and their overlap: over any text, with the model's tokenizer."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.providers.protocols import Token
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.splitting.chunker import MARKERS, Chunker, PlannedChunk
from sibyl_runtime.techniques.splitting.tokens import TokenTable

WORDS = st.sampled_from(
    [
        "replica",
        "lag",
        "is",
        "measured",
        "每秒一次",
        "naïve",
        "e.g.",
        "The",
        "end.",
        "Why?",
        "x" * 90,
        "y" * 700,
        "—",
        "1.5",
        "a_b",
    ]
)
LINES = st.one_of(
    st.lists(WORDS, max_size=40).map(" ".join),
    st.sampled_from(
        [
            "# One",
            "## Two",
            "### Three ###",
            "Title\n=====",
            "Sub\n---",
            "```python\nx = 1\n\n# no heading\n```",
            "~~~",
            "```",
            "- item one\n- item two",
            "1. first\n2. second",
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "> quoted",
            "    indented",
            "def f(x):\n    return x\n\n\nclass A(B):\n    # why\n    @property\n    def m(self):\n        pass",
            "func Do(x int) error {\n\tif x > 1 {\n\t\treturn nil\n\t}\n}\n\n// Why.\ntype T struct {\n\ta int\n}",
            "SELECT ';' FROM a; -- it; is\nINSERT INTO b VALUES ('x''y');",
            "'open",
            "/* open",
            "$body$",
            '"""',
            "\t",
        ]
    ),
)
MARKDOWN = st.lists(LINES, max_size=25).map("\n\n".join)
ANY_TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), st.sampled_from(" \n\t.#`a")),
    max_size=600,
)
SIZES = st.sampled_from([(16, 0), (16, 4), (24, 8), (40, 12), (64, 60), (256, 32)])


WAYS = [
    ("markdown", "d"),
    ("fixed", "d"),
    ("recursive", "d"),
    ("sql", "d"),
    ("code", "a.py"),
    ("code", "a.go"),
    ("code", "a.sql"),
    ("code", "a.md"),
]


def chunked(
    embedder: LocalEmbedder,
    text: str,
    size: int,
    overlap: int,
    *,
    subtechnique: str = "markdown",
    title: str = "",
    document_id: str = "d",
) -> list[PlannedChunk]:
    chunker = Chunker(embedder.tokenize, subtechnique=subtechnique, chunk_size=size, chunk_overlap=overlap)
    return chunker.chunks(Document(document_id, "s", title, text), markdown=True)


def positions(text: str, chunks: list[PlannedChunk]) -> list[tuple[int, int]]:
    """Where the chunks stand in the text."""
    for planned in chunks:
        assert text.startswith(planned.chunk.content, planned.start)
    return [(planned.start, planned.start + len(planned.chunk.content)) for planned in chunks]


def assert_covered(embedder: LocalEmbedder, text: str, chunks: list[PlannedChunk], size: int, overlap: int) -> None:
    """In order, within their size, repeating no more than asked, and with nothing visible left out."""
    assert [planned.chunk.ordinal for planned in chunks] == list(range(len(chunks)))
    for planned in chunks:
        assert planned.chunk.content.strip()
        assert planned.text.endswith(planned.chunk.content)
        assert len(embedder.tokenize(planned.text)) + MARKERS <= size
    places = positions(text, chunks)
    covered = 0
    for (start, end), (next_start, next_end) in pairwise(places):
        assert start < next_start
        assert end < next_end
    for start, end in places:
        assert not text[covered:start].strip(), "a gap between chunks"
        covered = end
    assert not text[covered:].strip(), "the end is missing"
    for (_, end), (start, _) in pairwise(places):
        if start < end:
            assert len(embedder.tokenize(text[start:end])) <= overlap


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(MARKDOWN, ANY_TEXT),
    sizes=SIZES,
    way=st.sampled_from(WAYS),
    title=st.sampled_from(["", "A title", "T" * 300]),
)
@example(text="x" * 20_000, sizes=(16, 4), way=WAYS[0], title="")
@example(text="# " + "heading " * 50 + "\n\n" + "word " * 100, sizes=(16, 4), way=WAYS[0], title="t")
@example(text="```\n" + "line of code\n" * 100 + "```\ntext", sizes=(40, 12), way=WAYS[0], title="")
@example(text="\x01" * 5_000, sizes=(16, 0), way=WAYS[1], title="")
@example(text="\n" * 5_000 + "a", sizes=(16, 0), way=WAYS[0], title="")
def test_chunks_cover_the_text_in_order_within_their_size(
    embedder: LocalEmbedder, text: str, sizes: tuple[int, int], way: tuple[str, str], title: str
) -> None:
    size, overlap = sizes
    chunks = chunked(embedder, text, size, overlap, subtechnique=way[0], document_id=way[1], title=title)
    assert_covered(embedder, text, chunks, size, overlap)


def test_a_long_text_overlaps_by_about_what_was_asked(embedder: LocalEmbedder) -> None:
    text = " ".join(f"word{number}" for number in range(2000))
    chunks = chunked(embedder, text, 128, 32, subtechnique="fixed")
    places = positions(text, chunks)
    overlaps = [len(embedder.tokenize(text[start:end])) for (_, end), (start, _) in pairwise(places)]
    assert len(overlaps) > 20
    assert all(24 <= overlap <= 32 for overlap in overlaps)
    assert all(planned.chunk.tokens > 120 for planned in chunks[:-1]), "chunks are filled"


def test_an_overlap_starts_at_a_sentence_where_one_begins_in_time(embedder: LocalEmbedder) -> None:
    text = " ".join(f"Sentence number {number} says something." for number in range(60))
    chunks = chunked(embedder, text, 64, 20)
    assert len(chunks) > 5
    assert all(planned.chunk.content.startswith("Sentence number") for planned in chunks)
    assert all(planned.chunk.content.endswith("something.") for planned in chunks)


GUIDE = """Intro before any heading.

# Guide

## Install

Run this:

```bash
# not a heading
pip install sibyl

sibyl serve
```

Then wait.

## Empty

### Filled

Text under filled.

Last
----

Text under last, with [a link](http://x) inside.
"""


def test_markdown_is_cut_at_headings_and_keeps_their_path(embedder: LocalEmbedder) -> None:
    chunks = chunked(embedder, GUIDE, 256, 32, title="Guide")
    assert [(planned.chunk.heading, planned.chunk.content.split("\n")[0]) for planned in chunks] == [
        ("", "Intro before any heading."),
        ("Guide > Install", "# Guide"),
        ("Guide > Empty > Filled", "## Empty"),
        ("Guide > Last", "Last"),
    ]
    assert chunks[0].text.startswith("Guide\nIntro"), "the title leads where no heading says the same"
    assert chunks[1].text.startswith("# Guide\n\n## Install"), "headings that the chunk shows are not repeated"
    assert chunks[2].text.startswith("Guide\n## Empty\n\n### Filled")
    assert chunks[3].text.startswith("Guide\nLast\n----")


def test_the_title_leads_every_chunk_that_does_not_show_it(embedder: LocalEmbedder) -> None:
    text = "## Setup\n\n" + "Some words about the setup. " * 40
    chunks = chunked(embedder, text, 64, 0, title="Handbook")
    assert len(chunks) > 2
    assert chunks[0].text.startswith("Handbook\n## Setup")
    assert all(planned.text.startswith("Handbook > Setup\n") for planned in chunks[1:])
    assert {planned.chunk.heading for planned in chunks} == {"Setup"}


def test_a_fenced_block_stays_whole_when_it_fits(embedder: LocalEmbedder) -> None:
    before = "Some words that fill a good part of the first chunk before the code begins. " * 2
    code = "```yaml\nkey: value\n\nother: value\n\n# comment\nlast: value\n```"
    chunks = chunked(embedder, f"{before}\n\n{code}\n\n{before}", 64, 16)
    holding = [planned for planned in chunks if "key: value" in planned.chunk.content]
    assert len(holding) == 1
    assert code in holding[0].chunk.content
    for planned in chunks:
        assert planned.chunk.content.count("```") in (0, 2)


def test_a_fenced_block_that_is_too_long_is_cut_between_lines(embedder: LocalEmbedder) -> None:
    lines = [f"setting_{number}: value" for number in range(60)]
    chunks = chunked(embedder, "```yaml\n" + "\n".join(lines) + "\n```", 64, 0)
    assert len(chunks) > 3
    kept = [line for planned in chunks for line in planned.chunk.content.split("\n")]
    assert [line for line in kept if line.startswith("setting")] == lines


def test_text_that_is_no_markdown_has_no_headings(embedder: LocalEmbedder) -> None:
    chunker = Chunker(embedder.tokenize, subtechnique="markdown", chunk_size=64, chunk_overlap=0)
    chunks = chunker.chunks(Document("d", "s", "notes", "# a comment\n\nand a line"), markdown=False)
    assert [(planned.chunk.heading, planned.chunk.content) for planned in chunks] == [("", "# a comment\n\nand a line")]


def test_a_megabyte_without_a_space_ends_up_in_bounded_chunks(embedder: LocalEmbedder) -> None:
    text = "data:image/png;base64," + "QUJD" * 250_000
    chunks = chunked(embedder, text, 256, 32)
    assert "".join(planned.chunk.content for planned in chunks) == text
    assert max(len(planned.chunk.content) for planned in chunks) <= 64 * 256


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_a_tokenizer_that_counts_white_space_cannot_break_the_size(way: tuple[str, str]) -> None:
    """Not every model splits at white space first: here one space may or may not be a token of its own."""

    def tokenize(text: str) -> list[Token]:
        text = unicodedata.normalize("NFC", text)
        return [Token(match.start(), match.end()) for match in re.finditer(r" ?\w{1,4}|\s+(?!\S)|\S", text)]

    text = " ".join(f"wordnumber{number}" for number in range(500))
    chunker = Chunker(tokenize, subtechnique=way[0], chunk_size=32, chunk_overlap=8)
    chunks = chunker.chunks(Document(way[1], "s", "", text), markdown=True)
    assert all(len(tokenize(planned.text)) + MARKERS <= 32 for planned in chunks)
    assert positions(text, chunks)[-1][1] == len(text)


@pytest.mark.parametrize("text", ["", " \n\n\t", "\n"])
def test_nothing_has_no_chunks(embedder: LocalEmbedder, text: str) -> None:
    assert chunked(embedder, text, 64, 0) == []


def test_places_to_cut_ascend_over_the_segments_of_a_long_text(embedder: LocalEmbedder) -> None:
    table = TokenTable("some words " * 5_000, embedder.tokenize)
    assert list(table.words) == sorted(set(table.words))
    assert list(table.starts) == sorted(set(table.starts))
    assert len(table.starts) == 10_000
    assert table.count(0, len(table.text)) == 10_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "." * 300_000,
        "# " + " " * 300_000 + "x",
        "#" * 300_000,
        "[" * 300_000,
        "a\n\n" * 60_000,
        "# h\n\n```\nx\n```\n" * 10_000,
        "```\nx\n```\n" * 20_000,
        "---\n" * 60_000,
        "\n" * 300_000 + "x",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_no_text_takes_quadratic_time(embedder: LocalEmbedder, text: str) -> None:
    """Each of these takes minutes when one step looks at the rest of the text again and again."""
    chunks = chunked(embedder, text, 256, 32)
    assert chunks


@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", [way for way in WAYS if way[0] not in ("markdown", "fixed")], ids=" ".join)
@pytest.mark.parametrize(
    "text",
    [
        ";" * 200_000,
        "'" * 200_000 + "a",
        "/*" * 100_000,
        "$a" * 100_000,
        "--\n" * 60_000,
        "-" * 100_000 + "1",
        "x = (" * 40_000,
        "if 1:\n" + "".join(" " * depth + "if 1:\n" for depth in range(600)),
        "def f():\n  pass\n" * 15_000,
        "\n" + " " * 300_000 + "\n" * 2 + "x",
        "{\n" * 60_000,
        "# a\n" * 60_000 + "x",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_no_program_text_takes_quadratic_time_or_ends_the_process(
    embedder: LocalEmbedder, text: str, way: tuple[str, str]
) -> None:
    assert chunked(embedder, text, 256, 32, subtechnique=way[0], document_id=way[1])
