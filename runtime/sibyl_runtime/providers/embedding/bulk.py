"""Several batches at once in this process: threads that share one loaded model, for as long as an ingest lasts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from sibyl_runtime.providers.embedding.encoder import TokenIds
from sibyl_runtime.providers.embedding.worker import EmbeddingWorker
from sibyl_runtime.providers.protocols import BulkSettings, EmbedDocuments, Vectors


@contextlib.asynccontextmanager
async def in_threads(
    worker: EmbeddingWorker, tokenise: Callable[[str], TokenIds], settings: BulkSettings
) -> AsyncIterator[EmbedDocuments]:
    """The worker's own thread and `max_concurrent - 1` beside it; only the first has queries to give way to."""
    added = [worker.beside() for _ in range(settings.max_concurrent - 1)]
    free: asyncio.Queue[EmbeddingWorker] = asyncio.Queue()
    for lane in (worker, *added):
        free.put_nowait(lane)

    async def embed(texts: Sequence[str]) -> Vectors:
        lane = await free.get()
        try:
            vectors = await lane.documents(texts, tokenise)
        finally:
            free.put_nowait(lane)
        if settings.free_memory:
            await asyncio.to_thread(worker.free_memory)
        return vectors

    try:
        yield embed
    finally:
        for lane in added:
            await lane.close()
