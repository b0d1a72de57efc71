"""The measures, against trec_eval's own code on random runs with ties, and against hand-computed values."""

from __future__ import annotations

import math
import random

import pytest
import pytrec_eval

from sibyl_runtime.evaluation import mean, ndcg, ranked, recall, reciprocal_rank


@pytest.mark.parametrize("seed", range(40))
def test_every_measure_equals_that_of_trec_eval(seed: int) -> None:
    source = random.Random(seed)
    documents = [f"d{number}" for number in range(40)]
    run: dict[str, dict[str, float]] = {}
    judgements: dict[str, dict[str, int]] = {}
    for question in (f"q{number}" for number in range(5)):
        found = source.sample(documents, source.randint(1, 30))
        # Few distinct scores, exact in single precision, which trec_eval computes with: many ties.
        run[question] = {document: source.randint(0, 6) / 4 for document in found}
        # No negative judgements: this build of trec_eval takes -1 for "not judged" and can run for ever on it.
        judged = source.sample(documents, source.randint(1, 25))
        judgements[question] = {document: source.choice([0, 0, 1, 1, 2, 3]) for document in judged}
    measures = {"ndcg", "ndcg_cut.5,10", "recall.5,10", "recip_rank"}
    expected = pytrec_eval.RelevanceEvaluator(judgements, measures).evaluate(run)
    for question, scores in run.items():
        judged_gains = judgements[question]
        assert {
            "ndcg": ndcg(scores, judged_gains),
            "ndcg_cut_5": ndcg(scores, judged_gains, 5),
            "ndcg_cut_10": ndcg(scores, judged_gains, 10),
            "recall_5": recall(scores, judged_gains, 5),
            "recall_10": recall(scores, judged_gains, 10),
            "recip_rank": reciprocal_rank(scores, judged_gains),
        } == pytest.approx(expected[question])


def test_a_ranking_by_hand() -> None:
    scores = {"a": 0.9, "b": 0.8, "c": 0.7}
    judgements = {"b": 1, "c": 2, "x": 1}
    gained = 1 / math.log2(3) + 2 / math.log2(4)
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(scores, judgements, 10) == pytest.approx(gained / ideal)
    assert recall(scores, judgements, 3) == pytest.approx(2 / 3)
    assert recall(scores, judgements, 1) == 0.0
    assert reciprocal_rank(scores, judgements) == 0.5


def test_ties_go_to_the_higher_id() -> None:
    assert ranked({"a": 1.0, "c": 1.0, "b": 2.0}) == ["b", "c", "a"]


@pytest.mark.parametrize("judgements", [{}, {"a": 0}, {"a": -1}])
def test_a_question_without_a_relevant_document_scores_nothing(judgements: dict[str, int]) -> None:
    scores = {"a": 1.0}
    assert (ndcg(scores, judgements), recall(scores, judgements, 5), reciprocal_rank(scores, judgements)) == (0, 0, 0)


def test_no_questions_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no question"):
        mean([])
    assert mean([1.0, 0.5]) == 0.75
