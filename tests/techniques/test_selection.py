"""Choosing among the chunks found: pure functions over hits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.selection import before_the_gap, diverse, within_budget


def hit(id_: int, score: float = 0.5, *, tokens: int = 0, embedding: Vectors | None = None) -> Hit:
    return Hit(id_, f"d{id_}", "", "", "", score, {}, tokens, embedding)


def _at(angle: float) -> Vectors:
    return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


# Two chunks that say nearly the same, and one that is farther from the question and from them.
TWINS = [hit(1, embedding=_at(0.3)), hit(2, embedding=_at(0.31)), hit(3, embedding=_at(-0.6))]


@pytest.mark.parametrize(
    ("weight", "chosen"), [(1.0, [1, 2, 3]), (0.5, [1, 3, 2]), (0.0, [1, 3, 2])], ids=["near", "both", "different"]
)
def test_the_second_chunk_is_the_nearest_or_the_most_different(weight: float, chosen: list[int]) -> None:
    assert [found.chunk_id for found in diverse(TWINS, _at(0.0), 3, weight)] == chosen


def test_vectors_of_any_length_are_compared_by_their_direction() -> None:
    longer = [hit(h.chunk_id, embedding=7 * h.embedding) for h in TWINS if h.embedding is not None]
    assert [found.chunk_id for found in diverse(longer, 3 * _at(0.0), 2, 0.5)] == [1, 3]


def test_no_more_are_chosen_than_there_are() -> None:
    assert diverse([], _at(0.0), 5, 0.5) == []
    assert len(diverse(TWINS, _at(0.0), 5, 0.5)) == 3


@pytest.mark.parametrize(
    ("scores", "least", "kept"),
    [
        ([0.9, 0.8, 0.3, 0.2], 1, [0.9, 0.8]),
        ([0.9, 0.8, 0.3, 0.2], 3, [0.9, 0.8, 0.3]),
        ([0.9, 0.3, 0.2], 1, [0.9]),
        ([0.8, 0.3, 0.9, 0.2], 1, [0.8, 0.9]),
        ([0.5, 0.5, 0.5], 1, [0.5, 0.5, 0.5]),
        ([0.5], 1, [0.5]),
        ([], 1, []),
        ([0.9, 0.1], 2, [0.9, 0.1]),
    ],
)
def test_what_lies_below_the_widest_gap_is_dropped(scores: list[float], least: int, kept: list[float]) -> None:
    found = before_the_gap([hit(place, score) for place, score in enumerate(scores)], least)
    assert [one.score for one in found] == kept


@given(some.lists(some.floats(-1, 1), max_size=12), some.integers(1, 12))
def test_a_cut_leaves_the_best_and_never_fewer_than_asked_for(scores: list[float], least: int) -> None:
    hits = [hit(place, score) for place, score in enumerate(scores)]
    kept = before_the_gap(hits, least)
    assert len(kept) >= min(least, len(hits))
    assert [one for one in hits if one in kept] == kept
    dropped = [one.score for one in hits if one not in kept]
    assert not dropped or max(dropped) < min(one.score for one in kept)


@pytest.mark.parametrize(
    ("tokens", "budget", "kept"),
    [([100, 50, 20], 150, 2), ([100, 50, 20], 149, 1), ([100, 50, 20], 10, 1), ([100, 50], 500, 2), ([], 5, 0)],
)
def test_chunks_are_passed_on_until_the_budget_is_spent(tokens: list[int], budget: int, kept: int) -> None:
    hits = [hit(place, tokens=count) for place, count in enumerate(tokens)]
    assert within_budget(hits, budget) == hits[:kept]
