"""Recursive chunking: a piece that fits into a chunk is never cut to fill another one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.splitting.chunker import MARKERS, Chunker


def contents(embedder: LocalEmbedder, text: str, size: int, overlap: int, *, markdown: bool = False) -> list[str]:
    chunker = Chunker(embedder.tokenize, subtechnique="recursive", chunk_size=size, chunk_overlap=overlap)
    return [planned.chunk.content for planned in chunker.chunks(Document("d", "s", "", text), markdown=markdown)]


PARAGRAPHS = st.lists(st.integers(1, 60), min_size=1, max_size=20).map(
    lambda lengths: [" ".join(f"number {place}. word" for _ in range(length)) for place, length in enumerate(lengths)]
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paragraphs=PARAGRAPHS, overlap=st.sampled_from([0, 16, 40]))
def test_a_paragraph_that_fits_is_whole_in_some_chunk(
    embedder: LocalEmbedder, paragraphs: list[str], overlap: int
) -> None:
    chunks = contents(embedder, "\n\n".join(paragraphs), 64, overlap)
    for paragraph in paragraphs:
        if len(embedder.tokenize(paragraph)) + MARKERS <= 64:
            assert any(paragraph in chunk for chunk in chunks)


def test_the_way_down_is_paragraph_sentence_line_word(embedder: LocalEmbedder) -> None:
    words = " ".join(["word"] * 25)
    sentences = f"First {words}. Second {words}."
    lines = f"one {words}\ntwo {words}"
    text = f"short one\n\n{sentences}\n\n{lines}\n\n{words} {words}"
    chunks = contents(embedder, text, 32, 0)
    assert chunks == [
        "short one",
        f"First {words}.",
        f"Second {words}.",
        f"one {words}",
        f"two {words}",
        " ".join(["word"] * 30),
        " ".join(["word"] * 20),
    ]


def test_a_heading_goes_with_what_it_heads_and_code_stays_whole(embedder: LocalEmbedder) -> None:
    words = " ".join(["word"] * 20)
    text = f"{words}\n\n# Heading\n\n{words}\n\n```\na = 1\n\nb = 2\n```"
    assert contents(embedder, text, 32, 0, markdown=True) == [
        words,
        f"# Heading\n\n{words}",
        "```\na = 1\n\nb = 2\n```",
    ]


def test_short_paragraphs_share_a_chunk_and_the_tail_is_repeated_where_there_is_room(embedder: LocalEmbedder) -> None:
    paragraphs = [f"This is paragraph number {number}." for number in range(30)]
    chunks = contents(embedder, "\n\n".join(paragraphs), 40, 10)
    assert 2 <= chunks[0].count("paragraph") <= 8
    for before, after in pairwise(chunks):
        assert before.split("\n\n")[-1] == after.split("\n\n")[0]
