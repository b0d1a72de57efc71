"""What every backend shares: the seam that turns token ids into vectors, and how texts become batches.

A batch costs what its padding costs, so texts are sorted by length and cut into batches of few tokens. Batches are
kept small on purpose. On two threads 512 tokens already run at full speed, and a query that arrives during ingest
waits for one batch at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sibyl_runtime.providers.protocols import Vectors

INPUT_IDS, ATTENTION_MASK, EMBEDDINGS, POOLED = "input_ids", "attention_mask", "embeddings", "pooled"

TokenIds = Sequence[int]
Matrix = npt.NDArray[np.int64]

# Longer texts share a batch with those of their own length only: attention is faster where nothing is padded, and two
# texts of this length fill half a batch already.
LONGEST_PADDED = 128

# Padding that costs no more than starting another batch would.
_CHEAP_PADDING = 32
_PADDING_SHARE = 8


class Encoder(Protocol):
    """A loaded model. Several threads may call `encode` at once: an ingest may ask for that."""

    @property
    def dimension(self) -> int:
        """Numbers per vector."""

    @property
    def batch_tokens(self) -> int:
        """Tokens, padding included, above which a larger batch is no faster."""

    def encode(self, batch: Sequence[TokenIds]) -> Vectors:
        """Shape (len(batch), dimension), of token ids with their markers; unit vectors, unless opened for others."""


def plan_batches(lengths: Sequence[int], *, max_tokens: int, max_texts: int) -> list[list[int]]:
    """Positions in `lengths` grouped into batches, shortest texts first.

    A batch holds at most `max_texts` texts and `max_tokens` tokens with its padding; a longer text goes alone. Texts of
    more than LONGEST_PADDED tokens are never padded.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        padded = lengths[position] * (len(batch) + 1)
        padding = padded - tokens - lengths[position]
        allowed = max(_CHEAP_PADDING, padded // _PADDING_SHARE) if lengths[position] <= LONGEST_PADDED else 0
        wasteful = padding > allowed
        if batch and (padded > max_tokens or len(batch) == max_texts or wasteful):
            batches.append(batch)
            batch, tokens = [], 0
        batch.append(position)
        tokens += lengths[position]
    return [*batches, batch] if batch else batches


def pad(batch: Sequence[TokenIds]) -> tuple[Matrix, Matrix]:
    """Token ids padded on the right to the longest text, and the mask that tells tokens from padding."""
    ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask
