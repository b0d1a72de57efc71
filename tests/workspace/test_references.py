"""`${...}` means three things; these tests hold the spelling of each."""

from __future__ import annotations

import pytest

from sibyl_runtime.workspace import MalformedReference, references, whole_reference
from sibyl_runtime.workspace.references import references_of_kind, scalar, unescape


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("plain $text {query} $5", []),
        ("${DATABASE_URL}", [("environment", "DATABASE_URL", None)]),
        ("${API_KEY_1}", [("environment", "API_KEY_1", None)]),
        ("${_X}", [("environment", "_X", None)]),
        ("${VAR:-default}", [("environment", "VAR", "default")]),
        ("${VAR:-}", [("environment", "VAR", "")]),
        ("${VAR:-a:-b}", [("environment", "VAR", "a:-b")]),
        ("${VAR:-http://h:1/p}", [("environment", "VAR", "http://h:1/p")]),
        ("${top_k}", [("parameter", "top_k", None)]),
        ("${top_k:-5}", [("parameter", "top_k", "5")]),
        ("${retrieval.avg_score} < 0.8", [("result", "retrieval.avg_score", None)]),
        ("a${X}b${y}c", [("environment", "X", None), ("parameter", "y", None)]),
        ("$${X} and $${y}", []),
        ("$$${X}", []),
        ("$${X} ${Y}", [("environment", "Y", None)]),
    ],
)
def test_spelling_tells_the_three_meanings_apart(text: str, found: list[tuple[str, str, str | None]]) -> None:
    assert [(one.kind, one.name, one.default) for one in references(text)] == found


@pytest.mark.parametrize(
    "text", ["${}", "${Mixed}", "${a b}", "${1a}", "${a.B}", "${A.b}", "${a.b.c}", "${a-b}", "${x"]
)
def test_anything_else_is_an_error_that_names_the_allowed_forms(text: str) -> None:
    with pytest.raises(MalformedReference, match=r"\$\$\{ for a literal \$\{"):
        list(references(f"before {text}"))
    assert references_of_kind("environment", text) == []


def test_a_reference_knows_its_place_and_its_text() -> None:
    found = list(references("ab${X:-1}c${y}"))
    assert [(one.start, one.end, one.text) for one in found] == [(2, 9, "${X:-1}"), (10, 14, "${y}")]


def test_a_whole_reference_has_nothing_beside_it() -> None:
    whole = whole_reference("${top_k}")
    assert whole is not None
    assert whole.name == "top_k"
    for text in ("${top_k} ", "x${top_k}", "${a}${b}", "$${a}", "plain"):
        assert whole_reference(text) is None


def test_the_escape_stands_for_the_text_itself() -> None:
    assert unescape("$${X} costs $5") == "${X} costs $5"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("abc", "abc"),
        ("a: b", "a: b"),
        ("[1]", "[1]"),
        ("2024-01-01", "2024-01-01"),
        ("'", "'"),
        ("", None),
    ],
)
def test_a_default_has_the_value_that_yaml_gives_it(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)
