"""The questions in memory: what is near, what goes first, and what is never found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.cache.question_index import NEAREST, QuestionIndex, Vector

SCOPE, OTHER = "a" * 64, "b" * 64


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def index(*, max_entries: int = 100, ttl: float = 60.0, clock: Clock | None = None) -> QuestionIndex:
    return QuestionIndex(
        dimension=2, max_entries=max_entries, ttl=ttl, clock=clock or Clock(), jitter=lambda seconds: seconds
    )


def towards(degrees: float, length: float = 1.0) -> Vector:
    angle = np.deg2rad(degrees)
    return np.array([np.cos(angle) * length, np.sin(angle) * length], dtype=np.float32)


def numbers(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def asked(held: QuestionIndex, degrees: float = 0, scope: str = SCOPE, threshold: float = 0.9) -> list[str]:
    return [near.question for near in held.near(scope, towards(degrees), threshold=threshold)]


def test_the_near_ones_of_the_same_scope_are_found_nearest_first() -> None:
    held = index()
    for degrees in (20, 5, 90):
        held.add(SCOPE, f"at {degrees}", towards(degrees, length=3))
    held.add(OTHER, "elsewhere", towards(0))
    found = held.near(SCOPE, towards(0, length=0.1), threshold=0.9)
    assert [near.question for near in found] == ["at 5", "at 20"]
    assert [near.similarity for near in found] == pytest.approx([np.cos(np.deg2rad(5)), np.cos(np.deg2rad(20))])
    assert asked(held, scope="c" * 64) == []


def test_the_one_unused_longest_goes_first_over_all_scopes() -> None:
    held = index(max_entries=2)
    held.add(SCOPE, "first", towards(0))
    held.add(OTHER, "second", towards(0))
    held.used(SCOPE, "first")
    held.add(SCOPE, "third", towards(0))
    assert (sorted(asked(held)), asked(held, scope=OTHER), len(held)) == (["first", "third"], [], 2)


def test_a_question_lives_for_its_time_less_its_age() -> None:
    clock = Clock()
    held = index(clock=clock)
    held.add(SCOPE, "new", towards(0))
    held.add(SCOPE, "old", towards(0), age=50)
    held.add(SCOPE, "too old", towards(0), age=60)
    assert asked(held) == ["new", "old"]
    clock.now += 10
    assert asked(held) == ["new"]
    clock.now += 50
    assert (asked(held), len(held)) == ([], 0)


@pytest.mark.parametrize("vector", [towards(0, length=0), numbers(np.nan, 1), numbers(np.inf, 1), numbers(1, 1, 1)])
def test_a_vector_without_a_direction_is_neither_held_nor_near(vector: Vector) -> None:
    held = index()
    held.add(SCOPE, "wrong", vector)
    assert len(held) == 0
    held.add(SCOPE, "right", towards(0))
    assert held.near(SCOPE, vector, threshold=-1) == []


def test_a_lookup_looks_at_a_few() -> None:
    held = index()
    for number in range(50):
        held.add(SCOPE, str(number), towards(0))
    assert len(asked(held)) == NEAREST


@given(st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from([SCOPE, OTHER]), st.integers(0, 39))))
def test_whatever_is_added_and_removed_each_question_keeps_its_own_vector(changes: list[tuple[str, str, int]]) -> None:
    held, expected = index(max_entries=1000), {SCOPE: set[int](), OTHER: set[int]()}
    for change, scope, number in changes:
        if change == "+":
            held.add(scope, str(number), towards(9 * number))
            expected[scope].add(number)
        else:
            held.remove(scope, str(number))
            expected[scope].discard(number)
    assert len(held) == sum(map(len, expected.values()))
    for scope, numbers in expected.items():
        for number in range(40):
            assert asked(held, 9 * number, scope, threshold=0.9999) == ([str(number)] if number in numbers else [])
