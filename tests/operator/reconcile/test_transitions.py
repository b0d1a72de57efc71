"""Events: one for each transition that people care about."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.reconcile.transitions import EventFilter, Transition, transitions


def condition(kind: str, status: str, reason: str = "Because", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message or f"{kind} is {status}"}


READY, UNREADY, UNKNOWN = (condition("Ready", status) for status in ("True", "False", "Unknown"))

CASES: list[tuple[list[dict[str, Any]], list[dict[str, Any]], list[tuple[str, str]]]] = [
    ([], [READY], [("Ready", "Normal")]),
    ([], [UNREADY], [("Ready", "Warning")]),
    ([], [UNKNOWN], []),
    ([UNKNOWN], [READY], [("Ready", "Normal")]),
    ([READY], [READY], []),
    ([READY], [condition("Ready", "True", "Other", "other")], []),
    ([READY], [UNREADY], [("Ready", "Warning")]),
    ([READY], [condition("Ready", "False", "RolloutInProgress")], [("Ready", "Normal")]),
    ([READY], [UNKNOWN], []),
    ([READY], [], []),
    ([], [condition("Stalled", "True")], [("Stalled", "Warning")]),
    ([], [condition("Paused", "True")], [("Paused", "Normal")]),
    ([], [condition("Reconciling", "True")], []),
]


@pytest.mark.parametrize(("before", "after", "expected"), CASES)
def test_only_a_change_of_status_is_an_event(
    before: list[dict[str, Any]], after: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    assert [(found.condition, found.type) for found in transitions(before, after)] == expected


def test_conditions_that_say_the_same_are_one_event() -> None:
    after = [condition(kind, "False", "ConfigInvalid", "bad") for kind in ("ConfigValid", "Ready")]
    assert transitions([], after) == (Transition("ConfigValid", "Warning", "ConfigInvalid", "bad"),)


def test_flapping_is_told_once_in_five_minutes() -> None:
    seconds = 0.0
    held = EventFilter(lambda: seconds)
    down, up = transitions([READY], [UNREADY]), transitions([UNREADY], [READY])
    assert held.fresh("u", down) == down
    assert held.fresh("u", up) == up
    seconds = 299.0
    assert held.fresh("u", down) == ()
    assert held.fresh("other", down) == down
    seconds = 301.0
    assert held.fresh("u", down) == down
