"""An embedder that hands everything on: what stands in front of one overrides what it adds to, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from sibyl_runtime.providers.protocols import BulkSettings, Embedder, EmbedDocuments, Token, Vectors


class PassingEmbedder:
    """Implements `Embedder` by another one."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner

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
        """See Embedder."""
        return await self._inner.embed_query(text)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """See Embedder."""
        return await self._inner.embed_documents(texts)

    def bulk(self, settings: BulkSettings) -> AbstractAsyncContextManager[EmbedDocuments]:
        """See Embedder."""
        return self._inner.bulk(settings)

    async def close(self) -> None:
        """See Embedder."""
        await self._inner.close()
