"""Question and passage as one text for a model that reads both together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers

from sibyl_runtime.errors import InvalidParameters, StartupError
from sibyl_runtime.providers.embedding.encoder import Matrix, pad

SEGMENT_IDS, SCORES = "token_type_ids", "scores"


@dataclass(frozen=True)
class Pair:
    """Token ids of a pair with the markers, and which of its two texts each belongs to. `shortened`: the passage was
    longer than what the model reads, and lost its end."""

    ids: Sequence[int]
    segments: Sequence[int]
    shortened: bool


class PairTokenizer:
    """One cross-encoder's tokenizer. Safe for several threads."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, window: int) -> None:
        """`window` is the longest pair that the model reads, in tokens with the markers."""
        tokenizer.no_padding()
        # The passage is cut, never the question: without its end it can still be judged.
        tokenizer.enable_truncation(window, strategy="only_second")
        self._tokenizer = tokenizer
        self._longest_question = window // 2

    @classmethod
    def load(cls, path: Path, window: int) -> PairTokenizer:
        """Read a tokenizer.json. Raises StartupError when it is not one."""
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)), window)
        except Exception as error:  # the library raises no narrower type
            raise StartupError(f"model: {path} is not a tokenizer: {error}") from error

    def pairs(self, question: str, passages: Sequence[str]) -> list[Pair]:
        """The pairs of `question` with each passage. Raises InvalidParameters for one that leaves passages no room."""
        tokens = len(self._tokenizer.encode(question, add_special_tokens=False).ids)
        if tokens > self._longest_question:
            raise InvalidParameters(
                f"query has {tokens} tokens; the reranking model reads {self._longest_question} beside a passage; ask "
                "a shorter question"
            )
        encodings = (self._tokenizer.encode(question, passage) for passage in passages)
        return [Pair(one.ids, one.type_ids, bool(one.overflowing)) for one in encodings]


def padded(batch: Sequence[Pair]) -> tuple[Matrix, Matrix, Matrix]:
    """Token ids, mask and segments of a batch, each of shape (len(batch), tokens of the longest)."""
    ids, mask = pad([pair.ids for pair in batch])
    segments = np.zeros_like(ids)
    for row, pair in enumerate(batch):
        segments[row, : len(pair.segments)] = pair.segments
    return ids, mask, segments
