"""The intervals: against theory, repeatable, and only as wide as chance makes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.evaluation import Bootstrap, Estimate, bootstrap

FEW = Bootstrap(resamples=1_000)


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = list(np.random.default_rng(5).normal(0.4, 0.2, 400))
    estimate = Bootstrap().mean(values)
    half = 1.96 * float(np.std(values)) / 400**0.5
    assert estimate.value == pytest.approx(float(np.mean(values)))
    assert estimate.low == pytest.approx(estimate.value - half, abs=half * 0.05)
    assert estimate.high == pytest.approx(estimate.value + half, abs=half * 0.05)


def test_nineteen_intervals_of_twenty_hold_the_truth() -> None:
    random = np.random.default_rng(1)
    samples = (list(random.beta(0.5, 0.7, 60)) for _ in range(400))
    truth = 0.5 / 1.2
    held = sum(estimate.low <= truth <= estimate.high for estimate in map(FEW.mean, samples))
    assert 0.91 <= held / 400 <= 0.98


def test_the_interval_of_a_percentile_holds_it() -> None:
    values = [float(number) for number in range(1_000)]
    estimate = FEW.percentile(values, 95)
    assert estimate.value == pytest.approx(949.05)
    # By the binomial distribution of the rank: 950 +- 1.96 * sqrt(1000 * 0.95 * 0.05).
    assert estimate.low == pytest.approx(936, abs=4)
    assert estimate.high == pytest.approx(963, abs=4)


def test_a_run_can_be_repeated_to_the_digit_and_the_seed_matters() -> None:
    values = [0.1, 0.5, 0.7, 0.2, 0.9]
    assert FEW.mean(values) == Bootstrap(1_000, seed=0).mean(values)
    assert len({Bootstrap(1_000, seed=seed).mean(values).low for seed in range(5)}) > 1


def test_many_questions_are_drawn_in_blocks_and_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = list(np.random.default_rng(2).random(50))
    at_once = FEW.mean(values)
    monkeypatch.setattr(bootstrap, "_NUMBERS_AT_ONCE", 333)
    assert FEW.mean(values) == at_once


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_stays_within_what_was_measured(values: list[float]) -> None:
    estimate = Bootstrap(resamples=100).mean(values)
    tolerance = 1e-9
    assert min(values) - tolerance <= estimate.low <= estimate.high <= max(values) + tolerance


@pytest.mark.parametrize(
    ("low", "high", "excluded"),
    [(0.01, 0.2, True), (-0.2, -0.01, True), (-0.1, 0.1, False), (0.0, 0.0, False), (0.0, 0.1, False)],
)
def test_zero_is_excluded_only_when_it_lies_outside(low: float, high: float, excluded: bool) -> None:
    assert Estimate((low + high) / 2, low, high).excludes_zero is excluded


def test_without_questions_there_is_nothing_to_draw_from() -> None:
    with pytest.raises(ValueError, match="no question"):
        FEW.mean([])
