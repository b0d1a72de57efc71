"""KPIs in the status: verdicts are exact, figures stand still while noise moves."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.api.status_targets import share_text, target_statuses
from sibyl_operator.observed import TargetFacts


def told(value: float | None, met: bool | None = True, *, target: float = 100.0, share: bool = False,
         before: dict[str, Any] | None = None) -> dict[str, Any]:  # fmt: skip
    facts = TargetFacts("k", target, value, met, is_share=share)
    (found,) = target_statuses([facts], None if before is None else [{"name": "k", **before}])
    assert found.pop("name") == "k"
    return found


def test_target_value_and_verdict_are_told() -> None:
    assert told(0.41, True, target=3.0) == {"target": "3", "value": "0.41", "met": True}
    assert told(84.2, False, target=0.05) == {"target": "0.05", "value": "84", "met": False}


def test_what_was_not_measured_has_neither_value_nor_verdict() -> None:
    assert told(None, None, before={"target": "100", "value": "7", "met": True}) == {"target": "100"}


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0"), (0.0123, "0.012"), (0.637, "0.64"), (0.9985, "0.9985"), (0.99985, "0.99985"), (1.0, "1")],
)
def test_a_share_close_to_one_keeps_the_digits_that_matter(share: float, text: str) -> None:
    assert share_text(share) == text


@pytest.mark.parametrize(
    ("value", "before", "text"),
    [
        (41.9, "41", "41"),
        (44.9, "41", "45"),
        (0.38, "0.31", "0.31"),
        (0.0, "0.31", "0"),
        (0.31, "0", "0.31"),
        (41.9, "none", "42"),
        (41.9, None, "42"),
    ],
)
def test_a_figure_moves_only_when_it_moved_by_more_than_noise(value: float, before: Any, text: str) -> None:
    assert told(value, before={"target": "100", "value": before, "met": True})["value"] == text


def test_a_share_moves_when_what_is_missing_to_one_does() -> None:
    before = {"target": "0.999", "value": "0.9995", "met": True}
    assert told(0.99949, target=0.999, share=True, before=before)["value"] == "0.9995"
    assert told(0.9992, target=0.999, share=True, before=before)["value"] == "0.99920"


@pytest.mark.parametrize("before", [{"target": "100", "met": False}, {"target": "90", "met": True}])
def test_a_new_verdict_and_a_new_target_come_with_the_new_figure(before: dict[str, Any]) -> None:
    assert told(41.9, before={"value": "41", **before}) == {"target": "100", "value": "42", "met": True}
