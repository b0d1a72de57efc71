"""One vector for all who ask for that of one question at about the same time.

The semantic cache compares a question before the pipeline searches for it: by the same model, that is the same vector.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from sibyl_runtime.providers.embedding.passing import PassingEmbedder
from sibyl_runtime.providers.protocols import Embedder, Vectors

MOST_QUESTIONS: Final = 256
"""As many as may be under way at once, and then some; half a megabyte of vectors at most."""


@dataclass
class _Question:
    task: asyncio.Task[Vectors]
    waiting: int = 0


class SharedQueries(PassingEmbedder):
    """An embedder that remembers the vectors of its last questions, those being made included."""

    def __init__(self, inner: Embedder) -> None:
        super().__init__(inner)
        self._questions: OrderedDict[str, _Question] = OrderedDict()

    async def embed_query(self, text: str) -> Vectors:
        """See Embedder. A caller that leaves does not take the vector from the others; when all have left, nobody asks
        for it any more. A failure is not remembered."""
        question = self._questions.get(text)
        if question is None:
            question = self._questions[text] = _Question(asyncio.ensure_future(self._inner.embed_query(text)))
            if len(self._questions) > MOST_QUESTIONS:
                self._questions.popitem(last=False)
        self._questions.move_to_end(text)
        question.waiting += 1
        try:
            await asyncio.wait({question.task})
        finally:
            question.waiting -= 1
            if not question.task.done() and question.waiting == 0:
                question.task.cancel()
                self._forget(text, question)
        try:
            return question.task.result()
        except BaseException:
            self._forget(text, question)
            raise

    def _forget(self, text: str, question: _Question) -> None:
        if self._questions.get(text) is question:
            del self._questions[text]
