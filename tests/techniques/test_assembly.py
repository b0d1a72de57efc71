"""Putting a context together: repetition, budget, order, numbers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.providers.protocols import Passage
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.assembly import assembled, best_at_the_ends, within, without_repetition

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def hits(*contents: str) -> list[Hit]:
    return [Hit(number, f"{number}.md", "", "", content, 0.5, {}) for number, content in enumerate(contents)]


@pytest.mark.parametrize(
    ("contents", "kept"),
    [
        (["Pools hold connections.", "pools HOLD connections!"], [0]),
        (["Pools hold connections to the database.", "hold connections to the"], [0]),
        (["hold connections to the", "Pools hold connections to the database."], [0, 1]),
        (["Pools hold connections.", "Caches keep answers."], [0, 1]),
        ([" ".join(WORDS), " ".join([*WORDS[-3:], "and", "many", "more", "words"])], [0, 1]),
        (["Yes.", "Yes.", "No."], [0, 2]),
        (["***", "***"], [0, 1]),
        (["a b c d e f", "g h i j k l", "a b c d g h i j"], [0, 1, 2]),
    ],
)
def test_what_stands_in_a_better_chunk_is_left_out(contents: list[str], kept: list[int]) -> None:
    assert [hit.chunk_id for hit in without_repetition(hits(*contents))] == kept


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("most", "fitting"), [(None, (3, 12)), (12, (3, 12)), (11, (2, 7)), (7, (2, 7)), (6, (1, 3)), (1, (1, 3))]
)
def test_as_many_of_the_best_as_the_budget_holds_and_the_best_always(
    most: int | None, fitting: tuple[int, int]
) -> None:
    passages = [Passage("", "a b", 0.9), Passage("T", "a b", 0.8), Passage("", "a b c d", 0.7)]
    assert [words(text) for text in ("[1] a b", "[2] T\na b", "[3] a b c d")] == [3, 4, 5]
    assert within(passages, most, words) == fitting


@pytest.mark.parametrize(
    ("length", "order"), [(0, []), (1, [0]), (2, [0, 1]), (3, [0, 2, 1]), (5, [0, 2, 4, 3, 1]), (6, [0, 2, 4, 5, 3, 1])]
)
def test_the_best_stand_at_the_ends(length: int, order: list[int]) -> None:
    assert best_at_the_ends(length) == order


@given(st.integers(0, 200))
def test_no_chunk_is_lost_and_worse_ones_stand_nearer_to_the_middle(length: int) -> None:
    order = best_at_the_ends(length)
    assert sorted(order) == list(range(length))
    from_the_end = {position: min(place, length - 1 - place) for place, position in enumerate(order)}
    distances = [from_the_end[position] for position in range(length)]
    assert distances == sorted(distances)


def test_every_passage_keeps_its_own_number_wherever_it_stands() -> None:
    passages = [Passage("A", "best", 0.9), Passage("", "middling", 0.5), Passage("C", "worst", 0.1)]
    text = assembled(passages, [0, 2, 1])
    assert text == "[1] A\nbest\n\n[3] C\nworst\n\n[2] middling"
    assert re.findall(r"\[(\d)\]", text) == ["1", "3", "2"]
