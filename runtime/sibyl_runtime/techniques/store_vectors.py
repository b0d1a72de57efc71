"""`data.store_vectors`: takes all that the steps before it yield, and makes the collection equal to the source.

Each batch is one transaction of whole documents, so that an ingest that stops anywhere leaves nothing half-written,
and the next run continues where it stopped. Documents that the source no longer has go last, and only after
everything was seen. Of a partial load the documents are stored, and nothing else is done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.techniques.batches import VectorStream
from sibyl_runtime.techniques.providers import require_default
from sibyl_runtime.workspace import StoreVectorsConfig


class StoreVectors:
    """Reads the vectors of `rag.embedding` to the end."""

    id = "data.store_vectors"
    stage = "store"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: StoreVectorsConfig) -> Mapping[str, Any]:
        """`documents` and `chunks` count what was stored, `unchanged` what was left, `removed` what is gone."""
        require_default(context, "vector store", config.provider, context.services.workspace.default_vector_store[0])
        vectors = context.stream(VectorStream, made_by="rag.embedding")
        ledger = vectors.ledger
        started = time.monotonic()
        async for batch in vectors.take():
            if batch.documents:
                with context.timed("store"):
                    ledger.stored_chunks += await context.services.store.replace(batch.documents)
                ledger.stored += len(batch.documents)
                ledger.replaced += batch.known
            if context.progress is not None:
                context.progress(ledger.progress(time.monotonic() - started))
        if not ledger.partial:
            with context.timed("store"):
                if ledger.may_remove():
                    ledger.removed = await context.services.store.remove_missing(ledger.source, list(ledger.present))
                await context.services.store.ensure_index()
        return {
            "documents": ledger.stored,
            "chunks": ledger.stored_chunks,
            "unchanged": ledger.unchanged,
            "removed": ledger.removed,
        }
