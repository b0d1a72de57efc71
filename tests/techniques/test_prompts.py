"""A template is filled once, with text that stays text."""

from __future__ import annotations

import pytest

from sibyl_runtime.providers.protocols import Passage
from sibyl_runtime.techniques.prompts import numbered, rendered


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Q: {query}\nC: {context}", "Q: q\nC: c"),
        ("{query} {query}", "q q"),
        ("{{query}} {{}}", "{query} {}"),
        ("{{{query}}}", "{q}"),
        ("no placeholder", "no placeholder"),
        ("{unknown} {0} {query.__class__} {", "{unknown} {0} {query.__class__} {"),
    ],
)
def test_only_two_placeholders_mean_something(template: str, expected: str) -> None:
    assert rendered(template, query="q", context="c") == expected


def test_braces_in_content_are_never_interpreted() -> None:
    hostile = "{context} {query} {{x}} {query.__init__} \\1 \\g<0>"
    assert rendered("{query}|{context}", query=hostile, context=hostile) == f"{hostile}|{hostile}"


def test_passages_are_numbered_from_one_under_their_titles() -> None:
    assert numbered([Passage("A", "first", 0.5), Passage("", "second", 0.4)]) == "[1] A\nfirst\n\n[2] second"
