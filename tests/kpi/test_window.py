"""The sliding window, against an injected clock."""

from __future__ import annotations

import pytest

from sibyl_runtime.kpi.window import SlidingWindow


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_counted_is_zero(clock: Clock) -> None:
    window = SlidingWindow(60, clock)
    assert (window.per_second(), window.failed_share()) == (0.0, 0.0)


def test_a_young_process_is_measured_over_its_own_life(clock: Clock) -> None:
    window = SlidingWindow(60, clock)
    for _ in range(20):
        window.add(failed=False)
    clock.now += 10
    assert window.per_second() == pytest.approx(2.0)


def test_a_burst_in_the_first_second_is_not_blown_up(clock: Clock) -> None:
    window = SlidingWindow(60, clock)
    window.add(failed=False)
    clock.now += 0.001
    assert window.per_second() == pytest.approx(1.0)


def test_what_is_older_than_the_window_is_forgotten(clock: Clock) -> None:
    window = SlidingWindow(60, clock)
    window.add(failed=True)
    clock.now += 59
    assert window.failed_share() == 1.0
    clock.now += 1
    assert (window.per_second(), window.failed_share()) == (0.0, 0.0)


def test_a_slot_is_reused_for_a_new_second(clock: Clock) -> None:
    window = SlidingWindow(60, clock)
    for _ in range(100):
        window.add(failed=True)
    clock.now += 60
    window.add(failed=False)
    assert window.failed_share() == 0.0
    assert window.per_second() == pytest.approx(1 / 60)


def test_the_share_of_failures_is_among_all(clock: Clock) -> None:
    window = SlidingWindow(60, clock)
    for failed in (True, False, False, False):
        window.add(failed=failed)
        clock.now += 1
    assert window.failed_share() == 0.25
