"""Patterns of parameters: who chooses the text cannot choose how long it takes."""

from __future__ import annotations

import time

import pytest

from sibyl_runtime.workspace.patterns import PatternInvalid, check_pattern, matches


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^a+$", "aaa", True),
        ("^a+$", "aab", False),
        ("b", "abc", True),
        (r"^\d{2}$", "12\n", False),
        ("^é$", "é", True),
    ],
)
def test_a_pattern_matches_some_part_of_the_text(pattern: str, text: str, found: bool) -> None:
    assert matches(pattern, text) is found


@pytest.mark.parametrize("pattern", [r"^(\w+\s?)*$", "^(a+)+$", "^(a|a)*$"])
def test_no_text_takes_longer_than_its_length_deserves(pattern: str) -> None:
    started = time.process_time()
    assert not matches(pattern, "a" * 10_000 + "!")
    # Python's own engine takes longer than anybody waits: 2 to the power of the length.
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("(a", "unclosed group"),
        ("a{1000000}", "Compiled regex exceeds size limit of 10485760 bytes."),
    ],
)
def test_what_cannot_be_used_is_told_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(PatternInvalid) as caught:
        check_pattern(pattern)
    assert str(caught.value) == reason
