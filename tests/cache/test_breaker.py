from __future__ import annotations

from sibyl_runtime.cache.breaker import CircuitBreaker


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_failure_opens_it_and_only_the_first_is_news() -> None:
    breaker = CircuitBreaker(clock=_Clock())
    assert breaker.allows()
    assert breaker.failure() is True
    assert breaker.failure() is False
    assert not breaker.closed
    assert not breaker.allows()


def test_after_the_pause_one_caller_tries_and_the_others_wait() -> None:
    clock = _Clock()
    breaker = CircuitBreaker(shortest=1, clock=clock)
    breaker.failure()
    clock.now = 1.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]


def test_a_success_closes_it_and_is_news_once() -> None:
    clock = _Clock()
    breaker = CircuitBreaker(clock=clock)
    assert breaker.success() is False
    breaker.failure()
    clock.now = 1.0
    assert breaker.allows()
    assert breaker.success() is True
    assert breaker.success() is False
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    clock = _Clock()
    breaker = CircuitBreaker(shortest=1, longest=5, clock=clock)
    pauses = []
    for _ in range(5):
        breaker.failure()
        start = clock.now
        while not breaker.allows():
            clock.now += 0.5
        pauses.append(clock.now - start)
    assert pauses == [1, 2, 4, 5, 5]
    breaker.success()
    breaker.failure()
    clock.now += 1
    assert breaker.allows()


def test_calls_that_fail_together_count_once() -> None:
    clock = _Clock()
    breaker = CircuitBreaker(shortest=1, longest=30, clock=clock)
    assert [breaker.failure() for _ in range(8)] == [True, *[False] * 7]
    clock.now = 1.0
    assert breaker.allows()
    breaker.failure()
    breaker.failure()
    clock.now = 2.9
    assert not breaker.allows()
    clock.now = 3.0
    assert breaker.allows()
