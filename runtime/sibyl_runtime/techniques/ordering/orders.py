"""Orders of chunks, as positions, best first: by a score, by two orders fused, by nearness and difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.statements import RRF_K


def by_score(scores: Sequence[float]) -> list[int]:
    """Highest score first; equal ones as they come."""
    return sorted(range(len(scores)), key=lambda position: -scores[position])


def fused(scores: Sequence[float]) -> list[float]:
    """The reciprocal rank fusion of the order that things come in and the order by `scores`: 1 / (60 + rank) from each.

    Ranks count from 1. A score of 0 has no rank: what shares no word with the question gets nothing from its words.
    """
    places = {position: rank for rank, position in enumerate(by_score(scores), start=1) if scores[position] > 0}
    return [
        1 / (RRF_K + found) + (1 / (RRF_K + places[position]) if position in places else 0.0)
        for position, found in enumerate(range(1, len(scores) + 1))
    ]


def diverse(nearness: Sequence[float], alike: Vectors, weight: float, keep: int) -> list[int]:
    """At most `keep` positions by maximal marginal relevance (Carbonell and Goldstein, 1998), in the order chosen.

    The first is the nearest. Each next one has the highest weight x nearness - (1 - weight) x likeness to the chosen
    one that it is most like. `nearness` is brought to 0 to 1 first, least to most, so that both weigh the same whatever
    the distance of the store is; `alike` has shape (n, n).
    """
    if not nearness:
        return []
    near = np.asarray(nearness, dtype=np.float64)
    spread = near.max() - near.min()
    near = (near - near.min()) / spread if spread > 0 else np.ones_like(near)
    chosen = [int(np.argmax(near))]
    nearest_chosen = np.array(alike[chosen[0]], dtype=np.float64)
    while len(chosen) < min(keep, len(near)):
        worth = weight * near - (1 - weight) * nearest_chosen
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
        nearest_chosen = np.maximum(nearest_chosen, alike[chosen[-1]])
    return chosen
