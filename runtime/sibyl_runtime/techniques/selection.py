"""Which of the chunks found are worth passing on: different ones, those before a gap, as many as a budget holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.records import Hit


def diverse(hits: Sequence[Hit], question: Vectors, top_k: int, weight: float) -> list[Hit]:
    """At most `top_k` of `hits` by maximal marginal relevance (Carbonell and Goldstein, 1998), in the order chosen.

    Each next one has the highest weight x nearness to the question - (1 - weight) x nearness to the chosen one that
    it is most like. Nearness is cosine. `question` has shape (dimension,); every hit carries its embedding.
    """
    if not hits:
        return []
    vectors = np.stack([_unit(hit.embedding) for hit in hits if hit.embedding is not None])
    relevance = vectors @ _unit(question)
    likeness = vectors @ vectors.T
    chosen = [int(np.argmax(relevance))]
    while len(chosen) < min(top_k, len(hits)):
        worth = weight * relevance - (1 - weight) * likeness[:, chosen].max(axis=1)
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
    return [hits[position] for position in chosen]


def _unit(vector: Vectors) -> Vectors:
    length = np.linalg.norm(vector)
    unit: Vectors = vector / length if length else vector
    return unit


def before_the_gap(hits: Sequence[Hit], least: int) -> list[Hit]:
    """The hits whose scores lie above the widest gap between neighbouring scores, in their order; `least` at least.

    Adaptive-k (EMNLP 2025): where similarity falls most, what answers the question ends.
    """
    if len(hits) <= max(least, 1):
        return list(hits)
    scores = sorted((hit.score for hit in hits), reverse=True)
    cut = max(range(max(least, 1), len(scores)), key=lambda place: (scores[place - 1] - scores[place], -place))
    return [hit for hit in hits if hit.score >= scores[cut - 1]]


def within_budget(hits: Sequence[Hit], tokens: int) -> list[Hit]:
    """The first hits that hold at most `tokens` in all. The best one stays, however long it is."""
    kept: list[Hit] = []
    total = 0
    for hit in hits:
        total += hit.tokens
        if kept and total > tokens:
            break
        kept.append(hit)
    return kept
