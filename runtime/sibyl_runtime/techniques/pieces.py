"""Cuts an answer that arrives in parts of any length into pieces of so many tokens each."""

from __future__ import annotations

import re

# A model's own tokens are not known here: a word or a mark, with the space before it, comes close. Scripts without
# spaces are one word a sentence, so a word is not taken for longer than this.
_TOKEN = re.compile(r"\s*\w{1,12}|\s*[^\w\s]|\s+")


class Pieces:
    """The text that goes in comes out again, without space at either end.

    Every piece but the last has `size` tokens. A part of the answer counts as one token at least, as models send one
    token a part.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[str] = []
        self._space = ""
        self._tokens = 0
        self._begun = False

    def add(self, part: str) -> list[str]:
        """The pieces that are complete with this part of the answer."""
        complete = []
        for token in _TOKEN.findall(part):
            if token.isspace():
                # Held back: it may be the end of the answer.
                self._space += token
                continue
            text = self._space + token if self._begun else (self._space + token).lstrip()
            self._begun, self._space = True, ""
            self._kept.append(text)
            self._tokens += 1
            if self._tokens == self._size:
                complete.append(self._taken())
        return complete

    def rest(self) -> str:
        """The last piece; empty when nothing is left."""
        return self._taken()

    def _taken(self) -> str:
        piece = "".join(self._kept)
        self._kept, self._tokens = [], 0
        return piece
