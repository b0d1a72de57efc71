from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sibyl_runtime.cache.key import AnswerIdentity, answer_key, normalise_query

BASE = AnswerIdentity("shop", "search", "v1-abc", 7, "minilm", "gpt", {"query": "What is it?", "top_k": 5})


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  What is it? \n", "What is it?"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u2003a b\u00a0", "a b"),
        ("", ""),
    ],
)
def test_invisible_differences_are_one_question(text: str, normal: str) -> None:
    assert normalise_query(text) == normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10²", "102"),
        ("US", "us"),
        ("½", "1⁄2"),
        ("a b", "ab"),
        ("a?", "a"),
        ("print:\n  a", "print: a"),
        ("a  b", "a b"),
    ],
)
def test_visible_differences_are_two_questions(one: str, other: str) -> None:
    assert normalise_query(one) != normalise_query(other)


@pytest.mark.parametrize(
    "same",
    [
        {"arguments": {"top_k": 5, "query": "What is it?"}},
        {"arguments": {"query": " What is it? ", "top_k": 5}},
    ],
)
def test_the_same_question_has_the_same_key(same: dict[str, Any]) -> None:
    assert answer_key(replace(BASE, **same)) == answer_key(BASE)
    assert len(answer_key(BASE)) == 64


@pytest.mark.parametrize(
    "different",
    [
        {"workspace": "other"},
        {"tool": "other"},
        {"pipeline": "v1-abd"},
        {"corpus_version": 8},
        {"embedder": "other"},
        {"llm": "other"},
        {"arguments": {"query": "What was it?", "top_k": 5}},
        {"arguments": {"query": "What is it?", "top_k": 6}},
        {"arguments": {"query": "What is it?", "top_k": "5"}},
        {"arguments": {"query": "What is it?", "top_k": 5.0}},
        {"arguments": {"query": "What is it?", "top_k": True}},
        {"arguments": {"query": "What is it?"}},
        {"arguments": {"query": "What is it?", "top_k": 5, "filters": {}}},
        {"workspace": "shopsearch", "tool": ""},
    ],
)
def test_whatever_could_change_the_answer_changes_the_key(different: dict[str, Any]) -> None:
    assert answer_key(replace(BASE, **different)) != answer_key(BASE)


def test_only_the_question_is_normalised() -> None:
    with_space = replace(BASE, arguments={"query": "q", "separator": " "})
    assert answer_key(with_space) != answer_key(replace(BASE, arguments={"query": "q", "separator": ""}))
    as_text = replace(BASE, arguments={"text": " a b"}, query_parameter="text")
    assert answer_key(as_text) == answer_key(replace(as_text, arguments={"text": "a b"}))


def test_order_inside_nested_arguments_does_not_matter() -> None:
    one = replace(BASE, arguments={"filters": {"a": 1, "b": {"c": 2, "d": 3}}})
    other = replace(BASE, arguments={"filters": {"b": {"d": 3, "c": 2}, "a": 1}})
    assert answer_key(one) == answer_key(other)


def test_an_argument_that_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        answer_key(replace(BASE, arguments={"query": object()}))
