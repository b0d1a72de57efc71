"""A vector store that hands everything on: what stands in front of one overrides what it adds to, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.store.records import (
    EVERY_ID,
    NEAREST,
    EmbeddedDocument,
    Filters,
    Hit,
    IdRange,
    Ranking,
    StoreCounts,
    VectorStore,
)


class PassingVectorStore:
    """Implements `VectorStore` by another one."""

    def __init__(self, inner: VectorStore) -> None:
        self._inner = inner

    async def fingerprints(self, document_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """See VectorStore."""
        return await self._inner.fingerprints(document_ids)

    async def replace(self, documents: Sequence[EmbeddedDocument]) -> int:
        """See VectorStore."""
        return await self._inner.replace(documents)

    async def remove_missing(self, source: str, present: Sequence[str], within: IdRange = EVERY_ID) -> int:
        """See VectorStore."""
        return await self._inner.remove_missing(source, present, within)

    async def sources(self) -> dict[str, int]:
        """See VectorStore."""
        return await self._inner.sources()

    async def search(
        self,
        vector: Vectors,
        *,
        top_k: int,
        ranking: Ranking = NEAREST,
        threshold: float | None = None,
        filters: Filters | None = None,
        timeout: float | None = None,
    ) -> list[Hit]:
        """See VectorStore."""
        return await self._inner.search(
            vector, top_k=top_k, ranking=ranking, threshold=threshold, filters=filters, timeout=timeout
        )

    async def ensure_index(self) -> None:
        """See VectorStore."""
        await self._inner.ensure_index()

    async def counts(self) -> StoreCounts:
        """See VectorStore."""
        return await self._inner.counts()

    async def check(self) -> None:
        """See VectorStore."""
        await self._inner.check()

    def remarks(self) -> Mapping[str, Any]:
        """See VectorStore."""
        return self._inner.remarks()

    async def close(self) -> None:
        """See VectorStore."""
        await self._inner.close()
