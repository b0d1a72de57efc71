"""When a failed request is sent again, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.providers.llm.retry import LONGEST_CEILING, RetryPolicy
from sibyl_runtime.workspace import LlmProvider

POLICIES = st.builds(RetryPolicy, st.integers(0, 10), st.floats(0.001, 60), st.booleans())


def test_the_policy_is_that_of_the_provider() -> None:
    provider = LlmProvider(kind="openai", model="m", max_retries=4, retry_delay=0.2, exponential_backoff=False)
    assert RetryPolicy.of(provider) == RetryPolicy(4, 0.2, False)
    assert RetryPolicy.of(LlmProvider(kind="openai", model="m")) == RetryPolicy(2, 0.5, True)


@pytest.mark.parametrize(
    ("policy", "ceilings"),
    [
        (RetryPolicy(5, 0.5, True), [0.5, 1, 2, 4, 8, 8]),
        (RetryPolicy(5, 0.5, False), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]),
        (RetryPolicy(5, 3.0, True), [3, 6, 8, 8, 8, 8]),
        (RetryPolicy(5, 20.0, True), [20, 20, 20, 20, 20, 20]),
    ],
)
def test_ceilings_double_up_to_a_bound(policy: RetryPolicy, ceilings: list[float]) -> None:
    assert [policy.ceiling(attempt) for attempt in range(1, 7)] == ceilings


@given(POLICIES, st.integers(1, 12), st.floats(0, 1), st.floats(0, 100), st.none() | st.floats(0, 100))
def test_no_wait_is_above_its_ceiling_or_outlasts_the_time_left(
    policy: RetryPolicy, attempt: int, drawn: float, left: float, asked: float | None
) -> None:
    wait = policy.wait(attempt, asked=asked, left=left, drawn=drawn)
    if wait is None:
        assert attempt > policy.retries or policy.ceiling(attempt) * drawn >= left or (asked or 0) >= left
        return
    assert attempt <= policy.retries
    assert 0 <= wait < left
    assert wait == asked if asked is not None else wait <= max(policy.delay, LONGEST_CEILING)


@given(POLICIES.filter(lambda policy: policy.retries > 0), st.floats(0, 1))
def test_the_whole_range_is_drawn_from(policy: RetryPolicy, drawn: float) -> None:
    """Full jitter: what is drawn scales the ceiling down to nothing, so that clients spread over all of it."""
    assert policy.wait(1, asked=None, left=1e9, drawn=drawn) == pytest.approx(policy.delay * drawn)
