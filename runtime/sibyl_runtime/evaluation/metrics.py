"""Measures of a ranking against judgements, per question, with the conventions of trec_eval.

A run gives each retrieved document a score; ties are broken by document id, highest first. A judgement is a gain:
above 0 is relevant, and 0, a negative number or no judgement is not. Gains are linear: a document of gain 2 counts
twice. A question without a relevant document scores 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

Scores = Mapping[str, float]
Judgements = Mapping[str, int]


def ranked(scores: Scores) -> list[str]:
    """Document ids, best first."""
    return sorted(scores, key=lambda document: (scores[document], document), reverse=True)


def ndcg(scores: Scores, judgements: Judgements, k: int | None = None) -> float:
    """Discounted gain of the first `k` documents (None: all) over that of the best ranking possible; 0 to 1.

    Järvelin and Kekäläinen 2002, with the discount log2(rank + 1).
    """
    ideal = _discounted(sorted((gain for gain in judgements.values() if gain > 0), reverse=True)[:k])
    return _discounted(_gains(scores, judgements)[:k]) / ideal if ideal else 0.0


def recall(scores: Scores, judgements: Judgements, k: int) -> float:
    """Share of the relevant documents that are among the first `k`; 0 to 1."""
    relevant = sum(gain > 0 for gain in judgements.values())
    return sum(gain > 0 for gain in _gains(scores, judgements)[:k]) / relevant if relevant else 0.0


def reciprocal_rank(scores: Scores, judgements: Judgements) -> float:
    """1 / rank of the first relevant document; 0 when there is none."""
    for rank, gain in enumerate(_gains(scores, judgements), start=1):
        if gain > 0:
            return 1 / rank
    return 0.0


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean, over questions. Raises ValueError without any: no questions is no score of 0."""
    numbers = list(values)
    if not numbers:
        raise ValueError("there is no question to average over")
    return math.fsum(numbers) / len(numbers)


def _gains(scores: Scores, judgements: Judgements) -> list[int]:
    return [max(0, judgements.get(document, 0)) for document in ranked(scores)]


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
