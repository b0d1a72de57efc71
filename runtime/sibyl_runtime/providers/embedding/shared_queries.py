"""One vector for all who ask for that of one question at about the same time.

The semantic cache compares a question before the pipeline searches for it: by the same model, that is the same vector.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from sibyl_runtime.providers.protocols import BulkSettings, Embedder, EmbedDocuments, Token, Vectors

MOST_QUESTIONS: Final = 256
"""As many as may be under way at once, and then some; half a megabyte of vectors at most."""


class SharedQueries:
    """An embedder that remembers the vectors of its last questions, those being made included."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._vectors: OrderedDict[str, asyncio.Task[Vectors]] = OrderedDict()

    @property
    def tag(self) -> str:
        """See Embedder."""
        return self._inner.tag

    @property
    def dimension(self) -> int:
        """See Embedder."""
        return self._inner.dimension

    @property
    def max_tokens(self) -> int:
        """See Embedder."""
        return self._inner.max_tokens

    def tokenize(self, text: str) -> list[Token]:
        """See Embedder."""
        return self._inner.tokenize(text)

    async def embed_query(self, text: str) -> Vectors:
        """See Embedder. A caller that leaves does not take the vector from the others; a failure is not remembered."""
        task = self._vectors.get(text)
        if task is None or _failed(task):
            task = self._vectors[text] = asyncio.ensure_future(self._inner.embed_query(text))
            if len(self._vectors) > MOST_QUESTIONS:
                self._vectors.popitem(last=False)
        self._vectors.move_to_end(text)
        return await asyncio.shield(task)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """See Embedder."""
        return await self._inner.embed_documents(texts)

    def bulk(self, settings: BulkSettings) -> AbstractAsyncContextManager[EmbedDocuments]:
        """See Embedder."""
        return self._inner.bulk(settings)

    async def close(self) -> None:
        """See Embedder."""
        await self._inner.close()


def _failed(task: asyncio.Task[Vectors]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
