"""Stage timings: turns add up, failures count, order is kept."""

from __future__ import annotations

import pytest

from sibyl_runtime.pipeline.timing import StageRecorder, StageTiming


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_turns_of_a_stage_add_up_to_one_entry_in_order_of_the_first() -> None:
    clock = Clock()
    recorder = StageRecorder("ingest", clock)
    for spent in (1.0, 2.0):
        with recorder.timed("load_documents", "load"):
            clock.now += spent
        with recorder.timed("embedding", "embed"):
            clock.now += 10 * spent
    recorder.skip("generation", "generate")
    assert recorder.timings() == (
        StageTiming("ingest", "load_documents", "load", 3.0),
        StageTiming("ingest", "embedding", "embed", 30.0),
        StageTiming("ingest", "generation", "generate", 0.0, skipped=True),
    )


def test_a_stage_that_fails_is_timed_and_remembered() -> None:
    clock = Clock()
    recorder = StageRecorder("search", clock)

    def fail() -> None:
        clock.now += 4
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"), recorder.timed("retrieval", "retrieve"):
        fail()
    assert recorder.timings() == (StageTiming("search", "retrieval", "retrieve", 4.0),)
    assert recorder.running == ("retrieval", "retrieve")


def test_branches_are_timed_on_the_clock_of_the_run_and_joined_in_order() -> None:
    clock = Clock()
    clock.now = 5.0
    recorder = StageRecorder("search", clock)
    one, other = recorder.branch(), recorder.branch()
    clock.now = 6.0
    with other.timed("b", "retrieve"), one.timed("a", "retrieve"):
        clock.now = 8.0
        assert (one.running, other.running) == (("a", "retrieve"), ("b", "retrieve"))
    other.skip("c", "generate")
    recorder.join(one)
    recorder.join(other)
    with recorder.timed("d", "generate"):
        clock.now = 9.0
    told = [(timing.step, timing.started, timing.seconds, timing.skipped) for timing in recorder.timings()]
    assert told == [("a", 1.0, 2.0, False), ("b", 1.0, 2.0, False), ("c", 0.0, 0.0, True), ("d", 3.0, 1.0, False)]
