"""Runs the graph of a cross-encoder on onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sibyl_runtime.providers.embedding.encoder import ATTENTION_MASK, INPUT_IDS
from sibyl_runtime.providers.embedding.onnx_session import BATCH_TOKENS, open_session
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.providers.reranking.pairs import SCORES, SEGMENT_IDS, Pair, padded


class OnnxScorer:
    """One session over one graph: a `Scorer`."""

    batch_tokens = BATCH_TOKENS

    def __init__(self, graph: Path, threads: int) -> None:
        """Load the graph. Raises StartupError for a file that is not one."""
        self._session = open_session(graph, threads)
        self._reads_segments = any(given.name == SEGMENT_IDS for given in self._session.get_inputs())

    def score(self, batch: Sequence[Pair]) -> Vectors:
        """Shape (len(batch),), each 0 to 1."""
        ids, mask, segments = padded(batch)
        inputs = {INPUT_IDS: ids, ATTENTION_MASK: mask} | ({SEGMENT_IDS: segments} if self._reads_segments else {})
        scores: Vectors = self._session.run([SCORES], inputs)[0]
        return scores
