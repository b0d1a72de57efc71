"""Fusing the lists of several searches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.fusing import fused


def hit(chunk_id: int, score: float = 0.5) -> Hit:
    return Hit(chunk_id, f"{chunk_id}.md", "", "", "text", score, {})


def ids(hits: list[Hit]) -> list[int]:
    return [one.chunk_id for one in hits]


def test_what_several_lists_hold_comes_before_what_one_list_holds_first() -> None:
    assert ids(fused([[hit(1), hit(2)], [hit(3), hit(2)]])) == [2, 1, 3]


def test_ranks_add_up_by_their_reciprocals() -> None:
    # 1 / 61 + 1 / 65 = 0.031778 against 1 / 62 + 1 / 63 = 0.032002: the sums are close, and decide.
    assert ids(fused([[hit(1), hit(2)], [hit(3), hit(4), hit(2), hit(5), hit(1)]]))[:2] == [2, 1]


def test_a_chunk_keeps_the_highest_of_its_scores() -> None:
    found = fused([[hit(1, 0.2), hit(2, 0.9)], [hit(1, 0.7), hit(2, 0.1)]])
    assert [(one.chunk_id, one.score) for one in found] == [(1, 0.7), (2, 0.9)]


@given(st.lists(st.lists(st.integers(1, 30), unique=True), min_size=1))
def test_every_chunk_comes_once_and_one_list_keeps_its_order(lists: list[list[int]]) -> None:
    found = ids(fused([[hit(one) for one in each] for each in lists]))
    assert sorted(found) == sorted({one for each in lists for one in each})
    assert ids(fused([[hit(one) for one in lists[0]]])) == lists[0]
    assert ids(fused([[hit(one) for one in lists[0]]] * 3)) == lists[0]
