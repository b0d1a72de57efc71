"""One order of chunks out of several, by reciprocal rank: what stands high in many lists comes first."""

from __future__ import annotations

from collections.abc import Sequence

from sibyl_runtime.store.records import Hit
from sibyl_runtime.store.statements import RRF_K


def fused(lists: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Every chunk of `lists` once, best first: each list that holds it adds 1 / (RRF_K + its rank there, from 1).

    Of its similarities to the queries that found it, a chunk keeps the highest. Equal chunks stay in the order in
    which they first came.
    """
    worth: dict[int, float] = {}
    best: dict[int, Hit] = {}
    for hits in lists:
        for rank, hit in enumerate(hits, start=1):
            worth[hit.chunk_id] = worth.get(hit.chunk_id, 0.0) + 1 / (RRF_K + rank)
            known = best.setdefault(hit.chunk_id, hit)
            if hit.score > known.score:
                best[hit.chunk_id] = hit
    return sorted(best.values(), key=lambda hit: -worth[hit.chunk_id])
