"""The guard of the semantic cache: no two questions of different meaning pass, whatever a model thinks of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.cache.same_question import content, same_question
from sibyl_runtime.providers.protocols import Embedder
from tests.cache.question_pairs import DIFFERENT, FRAMED, REWORDED, Pair

DISTINCT = [pytest.param(*pair, id=f"{kind}: {pair[0]}") for kind, pairs in DIFFERENT.items() for pair in pairs]
THRESHOLD = 0.95


@pytest.mark.parametrize(("one", "other"), DISTINCT)
def test_different_questions_are_told_apart(one: str, other: str) -> None:
    assert not same_question(one, other)
    assert not same_question(other, one)


@pytest.mark.parametrize(("one", "other"), FRAMED)
def test_the_frame_of_a_question_makes_no_difference(one: str, other: str) -> None:
    assert same_question(one, other), (content(one), content(other))
    assert same_question(other, one)


@pytest.mark.parametrize("empty", ["", " ", "?", "please", "How do I?"])
def test_what_asks_nothing_is_like_nothing(empty: str) -> None:
    assert not same_question(empty, "Please?")


@given(st.text(), st.text())
def test_it_answers_for_any_text_and_the_same_both_ways(one: str, other: str) -> None:
    assert same_question(one, other) is same_question(other, one)


@given(st.from_regex(r"[a-z]{2,9}( [a-z]{2,9}){0,5}", fullmatch=True), st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True))
def test_one_more_word_is_another_question(question: str, word: str) -> None:
    asked = f"How do I {question}?"
    assert same_question(asked, f"How do I {question} {word}?") is (word == "the")


async def test_the_model_alone_would_be_wrong_and_with_the_guard_it_never_is(
    embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    distinct = [pair for pairs in DIFFERENT.values() for pair in pairs]
    assert len(distinct) + len(FRAMED) + len(REWORDED) >= 150
    fooled, framed, reworded = [await alike(embedder, pairs) for pairs in (distinct, FRAMED, REWORDED)]
    hits = {
        name: [pair for pair in pairs if same_question(*pair)]
        for name, pairs in (("different", fooled), ("framed", framed), ("reworded", reworded))
    }
    with capsys.disabled():
        print(
            f"\nat {THRESHOLD}: {len(fooled)} of {len(distinct)} different pairs pass the threshold alone, "
            f"{len(hits['different'])} pass the guard too; hits on paraphrases: {len(hits['framed'])} of {len(FRAMED)} "
            f"framed, {len(hits['reworded'])} of {len(REWORDED)} reworded ({len(reworded)} pass the threshold)"
        )
    assert len(fooled) > 10, "the pairs are no test of the guard"
    assert hits["different"] == []
    assert len(hits["framed"]) >= 10


async def alike(embedder: Embedder, pairs: tuple[Pair, ...] | list[Pair]) -> list[Pair]:
    """The pairs that the real model takes for the same question."""
    found = []
    for pair in pairs:
        one, other = [await embedder.embed_query(question) for question in pair]
        if float(one @ other) >= THRESHOLD:
            found.append(pair)
    return found
