"""One FAISS index against the plain computation, whatever came and went."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.store.faiss_index import FaissIndex, Halves, Recipe
from sibyl_runtime.workspace.faiss_types import parse_faiss_type

DIMENSION = 8
TYPES = ("Flat", "SQ8", "SQfp16", "IVF4,Flat", "IVF4,SQ8", "IVF4,SQfp16", "HNSW16", "HNSW16,SQ8", "HNSW16,SQfp16")
METRICS = ("cosine", "euclidean", "dot_product")
ROWS = 300
RANDOM = np.random.default_rng(0)
VECTORS: Halves = RANDOM.normal(size=(2 * ROWS, DIMENSION)).astype(np.float16)


def built(index_type: str, metric: str, dimension: int = DIMENSION, vectors: Halves = VECTORS[:ROWS]) -> FaissIndex:
    """An index with ids from 1 that looks at all of its cells."""
    wanted = parse_faiss_type(index_type)
    assert wanted is not None
    recipe = Recipe(wanted, metric, dimension, nprobe=4, ef_construction=80, ef_search=ROWS)
    return FaissIndex.build(recipe, np.arange(1, len(vectors) + 1), vectors, stopped=lambda: False)


def nearest(metric: str, question: np.ndarray, ids: list[int]) -> list[int]:
    vectors = VECTORS[np.array(ids) - 1].astype(np.float64)
    if metric == "euclidean":
        places = np.linalg.norm(vectors - question, axis=1)
    else:
        lengths = np.linalg.norm(vectors, axis=1) if metric == "cosine" else 1.0
        places = -(vectors @ question) / lengths
    return [ids[position] for position in np.argsort(places)[:5]]


@settings(max_examples=60, deadline=None)
@given(
    index_type=st.sampled_from([one for one in TYPES if "SQ8" not in one]),
    metric=st.sampled_from(METRICS),
    added=st.integers(0, ROWS),
    removed=st.sets(st.integers(1, 2 * ROWS)),
    seed=st.integers(0, 1_000),
)
def test_what_was_added_is_found_and_what_was_removed_is_not(
    index_type: str, metric: str, added: int, removed: set[int], seed: int
) -> None:
    index = built(index_type, metric)
    index.add(np.arange(ROWS + 1, ROWS + 1 + added), VECTORS[ROWS : ROWS + added])
    there = sorted(set(range(1, ROWS + 1 + added)) - removed)
    index.remove(np.array(sorted(removed & set(range(1, ROWS + 1 + added))), dtype=np.int64))
    question = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    found = index.search(question, 5)
    assert len(index) == len(there)
    assert len(found) == min(5, len(there))
    assert set(found) <= set(there)
    wanted = nearest(metric, question.astype(np.float64), there)
    # A graph may miss one; half precision may change places.
    assert len(set(found) & set(wanted)) >= len(wanted) - 1 - ("HNSW" in index_type)


@pytest.mark.parametrize("index_type", TYPES)
def test_the_memory_told_is_what_the_index_takes(index_type: str) -> None:
    vectors = np.random.default_rng(1).normal(size=(2_000, 64)).astype(np.float16)
    index = built(index_type, "cosine", 64, vectors)
    assert index.size_bytes == pytest.approx(len(faiss.serialize_index(index._index)), rel=0.03)


def test_a_build_ends_when_it_is_told_to() -> None:
    assert len(built("HNSW16", "cosine")) == ROWS
    recipe = Recipe(built("HNSW16", "cosine").recipe.type, "cosine", DIMENSION, 0, 80, 80)
    assert len(FaissIndex.build(recipe, np.arange(ROWS), VECTORS[:ROWS], stopped=lambda: True)) == 0


@pytest.mark.parametrize("index_type", TYPES)
def test_all_of_it_can_be_removed(index_type: str) -> None:
    index = built(index_type, "cosine")
    index.remove(np.arange(1, ROWS + 1))
    assert len(index) == 0
    assert index.search(VECTORS[0].astype(np.float32), 5) == []
