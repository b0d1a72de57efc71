"""What several searches of a group of parallel steps found, as the result of one search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.techniques.fusing import fused
from sibyl_runtime.techniques.retrieval import scores


def gathered(searches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The results of `rag.retrieval` steps as one: every chunk once, in the order of reciprocal rank fusion.

    As many chunks as the searches brought: each has its own `top_k`, and reranking or augmentation may cut further.
    """
    hits = fused([search["chunks"] for search in searches])
    return {"chunks": hits, "count": len(hits), **scores(hits)}
