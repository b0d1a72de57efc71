"""Counts and cuts text the way the embedding model does.

The tokenizer of a model directory often comes with padding and truncation switched on. Both are switched off here:
padding is the encoder's business, and a text that is too long is an error to report, never one to hide.
"""

from __future__ import annotations

from pathlib import Path

import tokenizers

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.protocols import Token


class Tokenizer:
    """One model's tokenizer. Safe for several threads."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a tokenizer.json. Raises StartupError when it is not one."""
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises no narrower type
            raise StartupError(f"model: {path} is not a tokenizer: {error}") from error

    def tokens(self, text: str) -> list[Token]:
        """Every token of `text` with its character offsets, without the model's markers."""
        return [Token(start, end) for start, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]

    def ids(self, text: str) -> list[int]:
        """What the model reads: the ids of `text` between its markers."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids
