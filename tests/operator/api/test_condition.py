"""A condition is decided by the first check that fails."""

from __future__ import annotations

import pytest

from sibyl_operator.api.condition import LONGEST_MESSAGE, Check, Condition, Finding, bounded, judge, listed
from tests.operator.api.facts import observed


def failing(reason: str, **more: object) -> Check:
    return lambda _observed: Finding(reason, f"{reason} happened", **more)  # type: ignore[arg-type]  # test data


def passing(_observed: object) -> None:
    return None


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((), Condition("Kind", "True", "AllWell", "all is well")),
        ((passing, passing), Condition("Kind", "True", "AllWell", "all is well")),
        ((passing, failing("First"), failing("Second")), Condition("Kind", "False", "First", "First happened")),
        ((failing("Later", status="Unknown"),), Condition("Kind", "Unknown", "Later", "Later happened")),
        ((failing("Fatal", stalls=True),), Condition("Kind", "False", "Fatal", "Fatal happened", stalls=True)),
    ],
)
def test_the_first_finding_decides(checks: tuple[Check, ...], expected: Condition) -> None:
    assert judge("Kind", checks, observed(), reason="AllWell", message="all is well") == expected


def test_a_message_has_an_end() -> None:
    assert bounded("short") == "short"
    assert len(bounded("x" * 10_000)) == LONGEST_MESSAGE
    assert bounded("x" * 10_000).endswith("…")


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (list("abcdefg"), "a, b, c, d, e and 2 more")],
)
def test_a_list_of_names_has_an_end(names: list[str], text: str) -> None:
    assert listed(names) == text
