"""Semantic chunking: cut where the topic changes, at most a chunk long, with nothing lost, in bounded memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.techniques.splitting.chunker import MARKERS, Chunker, PlannedChunk
from sibyl_runtime.techniques.splitting.topics import LEAST_TOKENS, MOST_TOKENS, WINDOW, Gaps, Sentences, topic_gaps
from sibyl_runtime.techniques.topics import SENTENCES_AT_ONCE, cut_by_topic
from sibyl_runtime.workspace import ChunkingConfig
from tests.support import cranfield
from tests.support.parts import Parts, WatchedEmbedder
from tests.techniques.test_splitting import ANY_TEXT, MARKDOWN, SIZES, assert_covered

BREAD = "Knead the dough for ten minutes until it feels smooth and elastic, then let it rise in a warm place. "
PLANET = "The orbit of the outer planet takes eighty years, and its moons are covered by a thick layer of ice. "
LAW = "The tenant has to give the landlord three months of notice in writing before the contract can end. "


def config(size: int = 256, overlap: int = 0, percentile: float = 90) -> ChunkingConfig:
    return ChunkingConfig(
        subtechnique="semantic", chunk_size=size, chunk_overlap=overlap, breakpoint_percentile=percentile
    )


def chunker(embedder: LocalEmbedder | WatchedEmbedder, settings: ChunkingConfig) -> Chunker:
    return Chunker(
        embedder.tokenize,
        subtechnique="semantic",
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
    )


async def cut(embedder: LocalEmbedder | WatchedEmbedder, text: str, settings: ChunkingConfig) -> list[PlannedChunk]:
    loaded = LoadedDocument(Document("d", "s", "", text), markdown=False)
    return await cut_by_topic(embedder, chunker(embedder, settings), loaded, settings)


async def test_a_change_of_topic_ends_a_chunk(embedder: LocalEmbedder) -> None:
    chunks = await cut(embedder, BREAD * 6 + PLANET * 6 + LAW * 6, config())
    assert [planned.chunk.content for planned in chunks] == [(one * 6).strip() for one in (BREAD, PLANET, LAW)]


async def test_what_fits_into_one_chunk_stays_whole_and_costs_no_embedding(embedder: LocalEmbedder) -> None:
    watched = WatchedEmbedder(embedder)
    text = f"{BREAD}{PLANET}"
    assert [planned.chunk.content for planned in await cut(watched, text, config())] == [text.strip()]
    assert watched.documents == []


def test_a_long_stretch_of_one_topic_is_cut_where_it_is_least_alike(embedder: LocalEmbedder) -> None:
    """Gap 1 is a change of topic; in what follows, gap 6 is in the second half of what fits."""
    sentences = Sentences.of(BREAD * 14, embedder.tokenize, markdown=False)
    similarities = np.full(13, 0.9, dtype=np.float32)
    similarities[1], similarities[6], similarities[2] = 0.1, 0.5, 0.4
    outline = sentences.topics(similarities, 95, 150)
    assert [section.start for section in outline.sections] == [0, len(BREAD * 2)]
    assert outline.paragraphs[0] == len(BREAD * 7)


async def test_a_text_is_always_cut_alike_whatever_the_model_does_beside(embedder: LocalEmbedder) -> None:
    text = (Path(__file__).parents[2] / "docs" / "ingestion.md").read_text(encoding="utf-8")
    alone = await cut(embedder, text, config())
    again, _, other = await asyncio.gather(
        cut(embedder, text, config()), embedder.embed_query("what else?"), cut(embedder, text + LAW * 20, config())
    )
    assert again == alone
    assert other != alone


async def test_a_higher_percentile_makes_fewer_topics(embedder: LocalEmbedder) -> None:
    text = "".join(f"{one}{other}" for one in (BREAD, PLANET, LAW) * 4 for other in (one, one))
    counts = [len(await cut(embedder, text, config(512, percentile=value))) for value in (60, 90, 99)]
    assert counts[0] > counts[1] > counts[2]


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(MARKDOWN, ANY_TEXT), sizes=SIZES, seed=st.integers(0, 99), title=st.sampled_from(["", "A title"]))
def test_chunks_cover_the_text_within_their_size_wherever_topics_change(
    embedder: LocalEmbedder, text: str, sizes: tuple[int, int], seed: int, title: str
) -> None:
    sentences = Sentences.of(text, embedder.tokenize, markdown=True)
    settings = config(*sizes)
    cutter = chunker(embedder, settings)
    gists = sentences.gists(0, len(sentences.starts), embedder.tokenize, 16)
    assert len(gists) == len(sentences.starts)
    assert all(len(embedder.tokenize(gist)) <= 16 for gist in gists)
    similarities = np.random.default_rng(seed).random(len(sentences.starts) - 1, dtype=np.float32)
    outline = sentences.topics(similarities, 90, cutter.budget(title) - settings.chunk_overlap)
    chunks = cutter.cut(Document("d", "s", title, text), sentences.table, outline)
    assert_covered(embedder, text, chunks, *sizes)


def test_short_sentences_are_joined_and_a_heading_goes_with_what_it_heads(embedder: LocalEmbedder) -> None:
    text = f"# Bread\n\n{BREAD}Yes.\n\n## Planets\n\n{PLANET}"
    sentences = Sentences.of(text, embedder.tokenize, markdown=True)
    assert list(sentences.starts) == [0, text.index("## Planets")]
    assert sentences.table.count(0, sentences.starts[1]) >= LEAST_TOKENS


@pytest.mark.parametrize("sizes", [[40], [1, 1, 38], [7, 7, 7, 7, 7, 5], [3, 37], [39, 1]])
def test_gaps_do_not_depend_on_how_vectors_arrive(sizes: list[int]) -> None:
    vectors = np.random.default_rng(7).normal(size=(40, 8)).astype(np.float32)
    expected = []
    for gap in range(39):
        before, after = vectors[max(0, gap + 1 - WINDOW) : gap + 1].sum(0), vectors[gap + 1 : gap + 1 + WINDOW].sum(0)
        expected.append(before @ after / np.linalg.norm(before) / np.linalg.norm(after))
    gaps, start = Gaps(), 0
    for size in sizes:
        gaps.add(vectors[start : start + size])
        start += size
    assert gaps.finish() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("similarities", "gaps"),
    [([], []), ([0.9, 0.2, 0.8, 0.7, 0.9], [1]), ([0.1, 0.9, 0.9, 0.9], [0]), ([0.5, 0.5, 0.5], []), ([0.5], [])],
)
def test_a_topic_ends_at_a_low_that_is_lower_than_its_neighbours(similarities: list[float], gaps: list[int]) -> None:
    assert topic_gaps(np.array(similarities, dtype=np.float32), 80) == gaps


def test_memory_does_not_grow_with_the_vectors_of_a_document(embedder: LocalEmbedder) -> None:
    """Twenty thousand vectors are 30 MB; no more than a batch of them is held."""
    gaps = Gaps()
    batch = np.random.default_rng(0).normal(size=(SENTENCES_AT_ONCE, embedder.dimension)).astype(np.float32)
    tracemalloc.start()
    for _ in range(20_000 // SENTENCES_AT_ONCE):
        gaps.add(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(gaps.finish()) == 20_000 // SENTENCES_AT_ONCE * SENTENCES_AT_ONCE - 1
    assert peak < 4 * 2**20


async def test_an_endless_sentence_is_read_only_in_part(embedder: LocalEmbedder) -> None:
    watched = WatchedEmbedder(embedder)
    chunks = await cut(watched, "word " * 3_000 + ". " + "😀" * 5_000, config())
    assert len(chunks) > 10
    assert all(len(embedder.tokenize(text)) <= MOST_TOKENS for text in watched.documents)
    watched.limit = 64
    await cut(watched, "word " * 3_000, config(64))
    assert len(embedder.tokenize(watched.documents[-1])) == 64 - MARKERS


async def test_an_unchanged_document_costs_nothing_and_the_percentile_counts(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(BREAD * 8 + PLANET * 8)
    chunking: dict[str, object] = {"subtechnique": "semantic"}
    parts.document = {"shops": {"rag": {"techniques": {"chunking": chunking}}}}
    await parts.ingest(tmp_path)
    first = len(parts.embedder.documents)
    assert first > 16, "sentences, then chunks"
    assert {hit.content for hit in await parts.search("ice")} == {(BREAD * 8).strip(), (PLANET * 8).strip()}
    assert (await parts.ingest(tmp_path)).unchanged == 1
    assert len(parts.embedder.documents) == first
    chunking["breakpoint_percentile"] = 50
    assert (await parts.ingest(tmp_path)).replaced == 1


@pytest.mark.cranfield
@pytest.mark.skipif(cranfield.missing() is not None, reason=f"{cranfield.missing()} is missing")
async def test_topics_end_where_abstracts_were_joined(embedder: LocalEmbedder) -> None:
    """Sixty abstracts of one subject, joined without a mark. By chance one break in seven would be right,
    and one in two with single sentences compared."""
    abstracts = [" ".join(one.text.split()) for one in cranfield.abstracts() if len(one.text) > 300][:60]
    joints = set(np.cumsum([len(one) + 1 for one in abstracts])[:-1].tolist())
    sentences = Sentences.of(" ".join(abstracts), embedder.tokenize, markdown=False)
    gaps = Gaps()
    gaps.add(await embedder.embed_documents(sentences.gists(0, len(sentences.starts), embedder.tokenize, MOST_TOKENS)))
    found = {sentences.starts[gap + 1] for gap in topic_gaps(gaps.finish(), 90)}
    assert len(found) > 10
    assert len(found & joints) / len(found) >= 0.65
