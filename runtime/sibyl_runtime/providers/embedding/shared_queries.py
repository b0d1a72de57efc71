"""One vector for all who ask for that of one question at about the same time.

The semantic cache compares a question before the pipeline searches for it: by the same model, that is the same vector.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from sibyl_runtime.providers.embedding.passing import PassingEmbedder
from sibyl_runtime.providers.protocols import Embedder, Vectors

MOST_QUESTIONS: Final = 256
"""As many as may be under way at once, and then some; half a megabyte of vectors at most."""


class SharedQueries(PassingEmbedder):
    """An embedder that remembers the vectors of its last questions, those being made included."""

    def __init__(self, inner: Embedder) -> None:
        super().__init__(inner)
        self._vectors: OrderedDict[str, asyncio.Task[Vectors]] = OrderedDict()

    async def embed_query(self, text: str) -> Vectors:
        """See Embedder. A caller that leaves does not take the vector from the others; a failure is not remembered."""
        task = self._vectors.get(text)
        if task is None or _failed(task):
            task = self._vectors[text] = asyncio.ensure_future(self._inner.embed_query(text))
            task.add_done_callback(_failed)  # looks at the failure, which those who asked may not be there to hear
            if len(self._vectors) > MOST_QUESTIONS:
                self._vectors.popitem(last=False)
        self._vectors.move_to_end(text)
        return await asyncio.shield(task)


def _failed(task: asyncio.Task[Vectors]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
