"""Keyword and hybrid search on the real PostgreSQL: what is found, in which order, at what cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store import statements
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.store.records import Ranking, Strategy
from tests.store.samples import axis, corpus, document, load, unit_vectors


def _toward(angle: float) -> Vectors:
    vector: Vectors = (np.cos(angle) * axis(0) + np.sin(angle) * axis(1)).astype(np.float32)
    return vector


async def _found(store: PgVectorStore, text: str, strategy: Strategy = "keyword", **search: Any) -> list[str]:
    settings = {"top_k": 10, **search}
    hits = await store.search(axis(0), ranking=Ranking(strategy, text), **settings)
    return [hit.document_id for hit in hits]


@pytest.fixture
async def texts(store: PgVectorStore) -> PgVectorStore:
    """Eight documents, the nearest first: their angles grow with their number."""
    written = [
        "engine engine engine wing", "wing", "wing drag", "wing lift lift", "O'Brien's wing \\back", "lift of the wing",
        "wing rudder", "engine " + "filler words without end " * 20,
    ]  # fmt: skip
    await store.replace([document(f"d{n}", [_toward(n / 6)], text=text) for n, text in enumerate(written)])
    await store.ensure_index()
    return store


async def test_a_rare_word_counts_more_than_a_common_one(texts: PgVectorStore) -> None:
    assert (await _found(texts, "wing rudder"))[0] == "d6"


async def test_a_word_counts_more_the_more_often_it_stands_in_a_short_chunk(texts: PgVectorStore) -> None:
    assert await _found(texts, "engine") == ["d0", "d7"]
    assert await _found(texts, "lift") == ["d3", "d5"]


async def test_words_are_compared_by_their_stems_and_stop_words_not_at_all(texts: PgVectorStore) -> None:
    assert await _found(texts, "Which rudders of the wings?", top_k=1) == ["d6"]
    assert await _found(texts, "is it of the") == []


@pytest.mark.parametrize(
    "text", ["O'Brien", "'", "\\", "\\back", "a' | 'b", "wing & !wing", ":*", "😀", "(", "w" * 9000]
)
async def test_no_text_breaks_the_query(texts: PgVectorStore, text: str) -> None:
    found = await _found(texts, text)
    assert ("d4" in found) is (text in ("O'Brien", "\\back", "wing & !wing"))
    assert await _found(texts, text, "hybrid")


async def test_hybrid_fuses_both_orders_by_reciprocal_rank(texts: PgVectorStore) -> None:
    near = await _found(texts, "", "vector")
    worded = await _found(texts, "lift rudder")
    assert near == [f"d{n}" for n in range(8)]
    points = {name: 1 / (60 + rank) for rank, name in enumerate(near, start=1)}
    for rank, name in enumerate(worded, start=1):
        points[name] += 1 / (60 + rank)
    assert await _found(texts, "lift rudder", "hybrid") == sorted(points, key=lambda name: -points[name])


async def test_a_chunk_found_by_words_alone_has_its_similarity_of_vectors(texts: PgVectorStore) -> None:
    hits = await texts.search(axis(0), top_k=1, ranking=Ranking("hybrid", "rudder"))
    assert [hit.document_id for hit in hits] == ["d6"]
    assert hits[0].score == pytest.approx(np.cos(1.0), abs=2e-3)


async def test_the_threshold_drops_by_similarity_and_leaves_as_many_as_asked_for(texts: PgVectorStore) -> None:
    assert await _found(texts, "rudder", "hybrid", top_k=2, threshold=0.9) == ["d0", "d1"]
    assert await _found(texts, "wing rudder", top_k=3, threshold=0.99) == ["d0"]
    assert await _found(texts, "rudder", threshold=0.9) == []


async def test_a_question_without_words_is_answered_by_vectors(texts: PgVectorStore) -> None:
    assert await _found(texts, "of the", "hybrid") == await _found(texts, "", "vector")


@pytest.mark.parametrize("strategy", ["keyword", "hybrid"])
async def test_filters_hold_for_what_words_find(
    indexed: PgVectorStore, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await indexed.replace(
        [document(f"w{n}", [axis(n)], text="rudder", metadata={"tenant": f"t{n}", "year": 2020 + n}) for n in range(4)]
    )
    assert await _found(indexed, "rudder", strategy, top_k=1, filters={"tenant": "t3"}) == ["w3"]
    years = {"year": {"gte": 2021, "lt": 2023}}
    assert set(await _found(indexed, "rudder", strategy, filters=years)) == {"w1", "w2"}
    monkeypatch.setattr("sibyl_runtime.store.search.SELECTIVE_ROWS", 0)
    assert set(await _found(indexed, "rudder", strategy, filters=years)) == {"w1", "w2"}


async def test_an_index_serves_hybrid_search_and_twice_as_many_are_found_as_fused(indexed: PgVectorStore) -> None:
    hits = await indexed.search(axis(0), top_k=30, ranking=Ranking("hybrid", "text"))
    assert len({hit.chunk_id for hit in hits}) == 30
    stats = indexed.stats()
    assert (stats["searches_approximate"], stats["short_results"]) == (1, 0)


async def test_common_words_do_not_make_the_search_rank_the_whole_collection(
    store: PgVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "CANDIDATES", 20)
    statements.statement.cache_clear()
    await load(store, corpus(unit_vectors(300), chunks=1))
    both = [document(f"both{n}", [axis(0)], text="alpha beta") for n in range(30)]
    await load(store, [*both, *(document(f"one{n}", [axis(0)], text="alpha") for n in range(30))])
    await store.ensure_index()
    assert all(name.startswith("both") for name in await _found(store, "alpha beta", top_k=40))
    assert len(await _found(store, "alpha rareword beta", top_k=40)) == 30
    await store.replace([document("rare", [axis(0)], text="rareword alpha")])
    assert (await _found(store, "alpha rareword beta", top_k=40))[0] == "rare"
    assert await _found(store, "rareword", top_k=40) == ["rare"]
    statements.statement.cache_clear()


async def test_embeddings_come_with_the_hits_when_asked_for(texts: PgVectorStore) -> None:
    (hit,) = await texts.search(axis(0), top_k=1, ranking=Ranking(embeddings=True))
    assert hit.embedding is not None
    assert hit.embedding == pytest.approx(axis(0), abs=1e-3)
    assert hit.tokens == 5
    (plain,) = await texts.search(axis(0), top_k=1)
    assert plain.embedding is None
