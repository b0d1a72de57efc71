"""The pure orders: what BM25, fusion and diversity compute, and what a language model's reply must look like."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.providers.protocols import Passage
from sibyl_runtime.techniques.ordering.asked import positions, prompt
from sibyl_runtime.techniques.ordering.orders import by_score, diverse, fused
from sibyl_runtime.techniques.ordering.words import bm25, likeness, words

TEXTS = ["the pool bounds connections", "the cache keeps answers", "the pool of the pool", "nothing"]
SCORES = st.lists(st.floats(0, 50) | st.just(0.0), min_size=1, max_size=30)
SOME_TEXTS = st.lists(st.text("ab cd", max_size=12), min_size=1, max_size=12)


def test_bm25_is_the_formula_that_is_documented() -> None:
    lengths = [4, 4, 5, 1]
    mean = sum(lengths) / 4
    idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))

    def expected(times: int, length: int) -> float:
        return idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / mean))

    assert bm25("pool, POOL?", TEXTS) == pytest.approx([expected(1, 4), 0, expected(2, 5), 0])


@pytest.mark.parametrize("texts", [[], ["", ""], ["!", "..."]])
def test_texts_without_words_score_nothing(texts: Sequence[str]) -> None:
    assert bm25("pool", texts) == [0.0] * len(texts)


def test_words_are_runs_of_letters_and_digits_in_one_case_of_any_script() -> None:
    assert words("Straße E1042, snake_case – Ελλάς") == ["strasse", "e1042", "snake_case", "ελλάσ"]


@given(SOME_TEXTS)
def test_only_texts_that_share_a_word_have_a_score(texts: list[str]) -> None:
    for text, score in zip(texts, bm25("a bb", texts), strict=True):
        assert (score > 0) == bool({"a", "bb"} & set(words(text)))


@given(SCORES)
def test_equal_scores_keep_the_order_found(scores: list[float]) -> None:
    order = by_score(scores)
    assert sorted(order) == list(range(len(scores)))
    assert [(-scores[one], one) for one in order] == sorted((-score, place) for place, score in enumerate(scores))


def test_fusion_gives_each_thing_one_over_sixty_and_its_rank_from_both_orders() -> None:
    assert fused([0.0, 1.0, 5.0]) == pytest.approx([1 / 61, 1 / 62 + 1 / 62, 1 / 63 + 1 / 61])


@given(SCORES)
def test_fusion_keeps_what_both_orders_agree_on(scores: list[float]) -> None:
    values = fused(scores)
    for one in range(len(scores)):
        for later in range(one + 1, len(scores)):
            if scores[one] >= scores[later]:
                assert values[one] > values[later]


def test_likeness_is_the_cosine_of_weighed_words() -> None:
    alike = likeness(["a a b", "a c", "d"])
    often, rare = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    first, second = math.hypot((1 + math.log(2)) * often, rare), math.hypot(often, rare)
    assert alike[0, 1] == pytest.approx((1 + math.log(2)) * often * often / (first * second), abs=1e-6)
    assert alike[0, 2] == alike[1, 2] == 0


@given(SOME_TEXTS)
def test_likeness_is_between_none_and_all_and_the_same_both_ways(texts: list[str]) -> None:
    alike = likeness(texts)
    assert alike.shape == (len(texts), len(texts))
    np.testing.assert_allclose(alike, alike.T, atol=1e-6)
    assert alike.min() >= 0
    assert alike.max() <= 1 + 1e-5


def test_difference_puts_a_copy_of_the_best_behind_what_is_new() -> None:
    alike = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float32)
    near = [0.8, 0.79, 0.5, 0.1]
    assert diverse(near, alike, 0.5, 4) == [0, 2, 1, 3]
    assert diverse(near, alike, 1.0, 4) == [0, 1, 2, 3]
    assert diverse(near, alike, 0.5, 1) == [0]
    assert diverse([], alike, 0.5, 3) == []


@given(SOME_TEXTS, st.floats(0, 1), st.integers(1, 20))
def test_diversity_keeps_different_positions_and_begins_with_the_nearest(
    texts: list[str], weight: float, keep: int
) -> None:
    near = [float(len(text)) for text in texts]
    order = diverse(near, likeness(texts), weight, keep)
    assert len(order) == len(set(order)) == min(keep, len(texts))
    assert order[0] == near.index(max(near))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=10), st.floats(0.1, 100))
def test_diversity_does_not_depend_on_the_scale_of_the_store_s_distance(near: list[float], scale: float) -> None:
    alike = likeness([f"a{number}" for number in range(len(near))])
    spread = max(near) - min(near)
    distinct = [round(value, 3) for value in near]
    if len(set(distinct)) == len(near) and spread > 0:
        assert diverse([scale * value for value in distinct], alike, 0.5, 10) == diverse(distinct, alike, 0.5, 10)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("2, 1", [1, 0]),
        ("3,2", [2, 1]),
        (" [3] > [1]\n", [2, 0]),
        ("3, 1.", [2, 0]),
        ("1", None),
        ("1, 2, 3", None),
        ("2, 2", None),
        ("0, 1", None),
        ("3, 4", None),
        ("The order is 2, 1", None),
        ("2, 1\nBecause passage 2 says so.", None),
        ("two, one", None),
        ("2 1", None),
        ("²,1", None),
        ("", None),
        ("99999, 1", None),
    ],
)
def test_a_reply_is_as_many_different_numbers_as_were_asked_for_and_nothing_else(
    reply: str, expected: list[int] | None
) -> None:
    assert positions(reply, passages=3, keep=2) == expected


@given(st.permutations(range(6)), st.integers(1, 6))
def test_every_order_can_be_told(order: list[int], keep: int) -> None:
    reply = ", ".join(str(position + 1) for position in order[:keep])
    assert positions(reply, 6, keep) == order[:keep]


@given(st.text(max_size=40))
def test_no_reply_makes_more_than_an_order(reply: str) -> None:
    found = positions(reply, 3, 2)
    assert found is None or (len(set(found)) == 2 and set(found) <= {0, 1, 2})


def test_the_prompt_numbers_the_passages_and_asks_for_as_many_as_are_kept() -> None:
    asked = prompt("Which {bird}?", [Passage("Birds", "The tern {x}.", 0.5), Passage("", "A net.", 0.4)], 1)
    assert "[1] Birds\nThe tern {x}.\n\n[2] A net.\n\nQuestion: Which {bird}?" in asked
    assert "numbers of the 1 most helpful" in asked
