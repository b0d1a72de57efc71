"""The complexity of a question: each rule alone, what holds for every text, and what the rules find together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.techniques.complexity import LENGTH_WEIGHT, LONGEST_READ, MOST_SHOWN, complexity
from tests.support.questions import COMPLEX, SIMPLE

GUIDE_THRESHOLD = 0.7
WORD = st.sampled_from(
    ["what", "is", "why", "and", "compare", "if", "not", "3", "17", "the", "pool", ",", "?", "better", "then", "how"]
)
WORDS = st.lists(WORD, max_size=60)


@pytest.mark.parametrize(
    ("question", "fired"),
    [
        ("What is HNSW?", {}),
        ("", {}),
        ("one two three four five six seven eight", {}),
        ("one two three four five six seven eight nine", {"length": 0.0094}),
        ("word " * 40, {"length": 0.3}),
        ("word " * 400, {"length": 0.3}),
        ("What is A? What is B?", {"questions": 0.25}),
        ("What is A? Is it B? C? D?", {"questions": 0.5}),
        ("What is A, how large is it", {"questions": 0.25}),
        ("Was ist A？Was ist B？", {"questions": 0.25}),
        ("A versus B", {"comparison": 0.4}),
        ("Compare A with B, and tell me why", {"comparison": 0.4, "reasoning": 0.4, "conjunctions": 0.1}),
        ("Why is it slow?", {"reasoning": 0.4}),
        ("How does the pool interact with replicas?", {"reasoning": 0.4}),
        ("salt and pepper", {"conjunctions": 0.1}),
        ("salt and pepper or sugar", {"conjunctions": 0.2}),
        ("salt and pepper or sugar but milk", {"conjunctions": 0.2}),
        ("Does it start if Redis is gone?", {"conditions": 0.15}),
        ("When is it due?", {}),
        ("Is it due when paid?", {"conditions": 0.15}),
        ("all fields except id", {"exclusions": 0.1}),
        ("report of 2023", {}),
        ("reports of 2023 to 2024", {"numbers": 0.1}),
        ("is 1,000.5 a number", {}),
        ("Brandy, handwhy, diff, torch", {}),
    ],
)  # fmt: skip
def test_each_rule_fires_on_its_words_and_on_no_others(question: str, fired: dict[str, float]) -> None:
    found = complexity(question)
    assert {rule.rule: rule.weight for rule in found.fired} == fired
    assert found.value == pytest.approx(min(1.0, sum(fired.values())), abs=1e-4)


def test_the_explanation_shows_the_words() -> None:
    found = {rule.rule: rule.found for rule in complexity("Why is A better than B, and what if 3 of 5 fail?").fired}
    assert found == {
        "length": ("13 words",), "questions": ("and what",), "comparison": ("better",), "reasoning": ("why",),
        "conjunctions": ("and",), "conditions": ("if",), "numbers": ("5",),
    }  # fmt: skip


@given(st.text(max_size=300))
def test_every_text_has_a_complexity_that_its_rules_add_up_to(question: str) -> None:
    found = complexity(question)
    assert 0 <= found.value <= 1
    assert found.value == pytest.approx(min(1.0, math.fsum(rule.weight for rule in found.fired)), abs=1e-4)
    assert all(rule.weight > 0 and 1 <= len(rule.found) <= MOST_SHOWN for rule in found.fired)
    assert complexity(question) == found


@given(WORDS, WORDS)
def test_a_question_that_goes_on_is_never_simpler(first: list[str], more: list[str]) -> None:
    assert complexity(" ".join([*first, *more])).value >= complexity(" ".join(first)).value


def test_a_huge_question_is_read_up_to_a_bound() -> None:
    assert complexity("a " * LONGEST_READ + "why") == complexity("a " * LONGEST_READ)
    assert complexity("a " * LONGEST_READ).value == LENGTH_WEIGHT


@pytest.mark.parametrize("question", SIMPLE)
def test_a_simple_question_stays_below_the_threshold_of_the_guide(question: str) -> None:
    assert complexity(question).value < GUIDE_THRESHOLD


@pytest.mark.parametrize("question", COMPLEX)
def test_a_complex_question_reaches_the_threshold_of_the_guide(question: str) -> None:
    assert complexity(question).value >= GUIDE_THRESHOLD
