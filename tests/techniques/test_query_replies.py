"""Replies of language models that were asked for queries: two forms are read, everything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.techniques.query_replies import (
    LONGEST_PASSAGE,
    LONGEST_QUERY,
    UnreadableReply,
    distinct,
    passage,
    queries,
    single_query,
)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('["pool size", "connection limit"]', ["pool size", "connection limit"]),
        ('```json\n["pool size"]\n```', ["pool size"]),
        ('```\n["pool size"]```', ["pool size"]),
        ("pool size\nconnection limit\n", ["pool size", "connection limit"]),
        ("1. pool size\n2) connection limit\n(3) slots", ["pool size", "connection limit", "slots"]),
        ("- pool size\n* connection limit\n• slots", ["pool size", "connection limit", "slots"]),
        ("Here are the queries:\n\n- pool size", ["pool size"]),
        ('"pool size"\n`connection limit`\n“slots”', ["pool size", "connection limit", "slots"]),
        ('["pool size", "Pool  SIZE", "limit"]', ["pool size", "limit"]),
        ('["pool\\n  size", "", "  "]', ["pool size"]),
        ("3.14 is a number", ["3.14 is a number"]),
        ("2 pools or 1?", ["2 pools or 1?"]),
        ("a\nb\nc\nd\ne", ["a", "b", "c", "d"]),
    ],
)
def test_a_json_list_and_lines_are_read(reply: str, found: list[str]) -> None:
    assert queries(reply, 4) == found


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("", "holds no query"),
        ("[]", "holds no query"),
        ("Queries:", "holds no query"),
        ('["pool size"', "begins like JSON and is none"),
        ('["pool size"] I hope this helps', "begins like JSON and is none"),
        ("[" * 100_000, "begins like JSON and is none"),
        ('{"queries": ["pool size"]}', "is JSON, but no list of texts"),
        ('["pool size", 3]', "is JSON, but no list of texts"),
        ('["pool\\u0000size"]', "holds the character NUL"),
        ('["pool \\ud800"]', "is not valid Unicode text"),
        ("x" * (LONGEST_QUERY + 1), "holds a query of 501 characters; at most 500 are taken"),
    ],
)
def test_a_reply_in_another_form_is_refused(reply: str, message: str) -> None:
    with pytest.raises(UnreadableReply, match=message):
        queries(reply, 4)


def test_one_query_is_one_query() -> None:
    assert single_query('Rewritten query:\n"pool size"') == "pool size"
    assert single_query('["pool size", "POOL SIZE"]') == "pool size"
    with pytest.raises(UnreadableReply, match="holds several queries where one was asked for"):
        single_query("pool size\nconnection limit")


def test_a_passage_is_the_whole_reply() -> None:
    assert passage("```text\nPools hold connections.\n\nThey are bounded.\n```") == (
        "Pools hold connections.\n\nThey are bounded."
    )
    assert len(passage("x" * 9_000)) == LONGEST_PASSAGE
    with pytest.raises(UnreadableReply, match="holds no text"):
        passage("  \n")
    with pytest.raises(UnreadableReply, match="holds the character NUL"):
        passage("a\0b")


def test_what_is_known_already_is_no_further_query() -> None:
    assert distinct(["Pool size?", "limit", "LIMIT "], but=["pool  size?"]) == ["limit"]


@given(st.text(), st.integers(1, 10))
def test_whatever_a_model_says_is_few_storable_queries_or_refused(reply: str, most: int) -> None:
    try:
        found = queries(reply, most)
    except UnreadableReply:
        return
    assert 1 <= len(found) <= most
    assert len({text.casefold() for text in found}) == len(found)
    for text in found:
        assert 0 < len(text) <= LONGEST_QUERY
        assert "\0" not in text
        text.encode()


@given(st.lists(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20), min_size=1))
def test_a_list_of_words_comes_back_as_it_was(words: list[str]) -> None:
    assert queries(json.dumps(words), len(words)) == distinct(words)
