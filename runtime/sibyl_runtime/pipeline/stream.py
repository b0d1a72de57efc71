"""A lazy result: what a step will yield, batch by batch, when a later step asks for it.

Loading, chunking, embedding and storing are composed of these, so that a corpus of any size passes through in
bounded memory. A stream is taken once; the engine drains what no step took and closes every stream in the end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Generic, Protocol, TypeVar

from sibyl_runtime.pipeline.ledger import IngestLedger


class Batch(Protocol):
    """Some of the things that a stream carries."""

    @property
    def size(self) -> int:
        """How many of the things that the stream counts are in it."""


B = TypeVar("B", bound=Batch)


class Stream(Generic[B]):
    """An asynchronous generator with the ledger of the load that feeds it. `count` is final once `ended` is True."""

    def __init__(self, batches: AsyncGenerator[B, None], ledger: IngestLedger) -> None:
        self._batches = batches
        self._counted = self._count()
        self.ledger = ledger
        self.count = 0
        self.taken = False
        self.ended = False

    def take(self) -> AsyncGenerator[B, None]:
        """The batches; once only, because a batch that was read is gone."""
        if self.taken:
            raise RuntimeError("this stream has been taken by an earlier step; each stream feeds one step")
        self.taken = True
        return self._counted

    async def drain(self) -> None:
        """Run it for its effects and counts."""
        async for _ in self.take():
            pass

    async def close(self) -> None:
        """Release what the generator holds; does nothing to one that has ended."""
        await self._counted.aclose()
        await self._batches.aclose()

    async def _count(self) -> AsyncGenerator[B, None]:
        async for batch in self._batches:
            self.count += batch.size
            yield batch
        self.ended = True
