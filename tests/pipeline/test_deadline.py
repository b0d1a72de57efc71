"""Deadlines as values: what is left, which is earlier, and what the error says."""

from __future__ import annotations

import pytest

from sibyl_runtime.errors import DeadlineExceeded
from sibyl_runtime.pipeline.deadline import Deadline


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_counts_down_and_stays_at_zero() -> None:
    clock = Clock()
    deadline = Deadline.after(2.0, clock=clock)
    assert (deadline.remaining(), deadline.passed) == (2.0, False)
    clock.now = 51.5
    assert deadline.remaining() == 0.5
    clock.now = 53.0
    assert (deadline.remaining(), deadline.passed) == (0.0, True)


def test_no_deadline_never_passes() -> None:
    deadline = Deadline.after(None)
    assert (deadline.remaining(), deadline.passed) == (None, False)
    deadline.check("retrieve")


@pytest.mark.parametrize(("own", "cap", "left"), [(5, 3, 3), (3, 5, 3), (None, 3, 3), (3, None, 3)])
def test_the_earlier_of_two_deadlines_counts(own: float | None, cap: float | None, left: float) -> None:
    assert Deadline.after(own, clock=Clock()).capped(cap).remaining() == left


def test_the_error_names_the_stage_and_how_long_was_given() -> None:
    clock = Clock()
    deadline = Deadline.after(2.5, clock=clock)
    deadline.check("retrieve")
    clock.now += 2.5
    with pytest.raises(DeadlineExceeded, match=r"the deadline of 2\.5 s passed in stage `retrieve`") as caught:
        deadline.check("retrieve")
    assert caught.value.details == {"stage": "retrieve", "deadline_seconds": 2.5}


def test_the_error_names_the_place_too() -> None:
    error = Deadline.after(1).exceeded("embed", step="retrieval", pipeline="search")
    assert error.message == (
        "the deadline of 1 s passed in stage `embed` of step `retrieval` of pipeline `search`; "
        "try again, or raise mcp.timeout or the pipeline's timeout_s"
    )
    assert error.details == {"stage": "embed", "step": "retrieval", "pipeline": "search", "deadline_seconds": 1}
