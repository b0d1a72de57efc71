"""From answers to figures: the measures of each run, and the differences question by question."""

from __future__ import annotations

import pytest

from sibyl_runtime.evaluation import FEWEST_QUESTIONS, Answer, Bootstrap, Question, measure_names, report

METHOD = Bootstrap(resamples=1_000)
QUESTIONS = [Question(str(number), "?", {"right": 1}, number) for number in range(1, 41)]
FIRST = Answer(("right", "wrong"), 0.010)
SECOND = Answer(("wrong", "right"), 0.030)


def test_a_run_is_scored_by_the_order_of_its_documents() -> None:
    found = report(QUESTIONS[:2], {"a": [FIRST, SECOND]}, [1, 10], METHOD).runs[0]
    assert found.by_question == {
        "ndcg@1": [1.0, 0.0],
        "recall@1": [1.0, 0.0],
        "ndcg@10": [1.0, pytest.approx(0.6309, abs=1e-4)],
        "recall@10": [1.0, 1.0],
        "mrr": [1.0, 0.5],
    }
    assert found.measures["mrr"].value == 0.75
    assert found.latency["p50_ms"].value == pytest.approx(20)
    assert list(found.measures) == measure_names([10, 1])


def test_a_difference_on_most_questions_excludes_zero_and_one_of_chance_does_not() -> None:
    better = report(QUESTIONS, {"a": [SECOND] * 40, "b": [FIRST] * 30 + [SECOND] * 10}, [10], METHOD).differences
    assert (better["mrr"].estimate.value, better["mrr"].shown) == (0.375, True)
    assert better["ms"].estimate.value == pytest.approx(-15)
    mixed = [FIRST, SECOND] * 20
    chance = report(QUESTIONS, {"a": mixed, "b": mixed[::-1]}, [10], METHOD).differences
    assert (chance["mrr"].estimate.value, chance["mrr"].shown) == (0.0, False)
    assert chance["mrr"].estimate.low < 0 < chance["mrr"].estimate.high


@pytest.mark.parametrize(("number", "shown"), [(2, False), (FEWEST_QUESTIONS - 1, False), (FEWEST_QUESTIONS, True)])
def test_a_few_questions_show_no_difference_however_much_they_agree(number: int, shown: bool) -> None:
    answers = {"a": [SECOND] * number, "b": [FIRST] * number}
    found = report(QUESTIONS[:number], answers, [10], METHOD).differences["mrr"]
    assert (found.estimate.excludes_zero, found.shown) == (True, shown)


def test_what_is_paired_is_surer_than_what_is_not() -> None:
    """Half of the questions are hopeless, so both means are unsure; that each other question improves is sure."""
    nothing, third = Answer((), 0.01), Answer(("wrong", "other", "right"), 0.01)
    found = report(QUESTIONS, {"a": [nothing, third] * 20, "b": [nothing, SECOND] * 20}, [10], METHOD)
    one, other = (run.measures["mrr"] for run in found.runs)
    assert one.high > other.low, "the intervals overlap"
    assert found.differences["mrr"].shown


def test_a_question_that_was_not_timed_has_no_part_in_the_times() -> None:
    untimed = Answer(("right",), None)
    found = report(QUESTIONS[:3], {"a": [FIRST, untimed, SECOND], "b": [SECOND, FIRST, untimed]}, [10], METHOD)
    assert found.runs[0].latency["p95_ms"].value == pytest.approx(29)
    assert found.differences["ms"].estimate.value == pytest.approx(20), "only the first was timed twice"
    nothing = report(QUESTIONS[:1], {"a": [untimed]}, [10], METHOD).runs[0]
    assert nothing.latency == {}


def test_what_limits_a_run_is_counted() -> None:
    found = report(QUESTIONS[:2], {"a": [FIRST, Answer(("right",), 0.001, cached=True)]}, [10], METHOD).runs[0]
    assert (found.from_cache, found.most_documents) == (1, 2)
