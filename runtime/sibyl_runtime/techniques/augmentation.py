"""`rag.augmentation`: the context that the answer is written from, made of the chunks that were retrieved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import Embedder
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.assembly import assembled, best_at_the_ends, within, without_repetition
from sibyl_runtime.techniques.found import NOT_SEARCHED, retrieved_chunks
from sibyl_runtime.techniques.prompts import passages_of
from sibyl_runtime.techniques.retrieval import scores
from sibyl_runtime.workspace import AugmentationConfig


class Augmentation:
    """Reads the chunks of the nearest earlier step that has some; what comes later takes those that it keeps."""

    id = "rag.augmentation"
    stage = "augment"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: AugmentationConfig) -> Mapping[str, Any]:
        """`chunks` are best first, and their numbers in `context` follow that; `dropped` were left out.

        `chunks` is None where nothing was searched, because retrieval failed or was skipped.
        """
        hits = retrieved_chunks(context.results)
        if hits is None:
            return {**NOT_SEARCHED, "dropped": 0, "context": "", "context_tokens": 0}
        with context.timed("augment"):
            # Counting the tokens of many chunks takes longer than other requests should wait.
            kept, text, tokens = await asyncio.to_thread(_context, hits, config, context.services.embedder)
        dropped = len(hits) - len(kept)
        context.note(chunks=len(kept), dropped=dropped, context_tokens=tokens, order=config.order)
        return {
            "chunks": kept,
            "count": len(kept),
            **scores(kept),
            "dropped": dropped,
            "context": text,
            "context_tokens": tokens,
        }


def _context(hits: Sequence[Hit], config: AugmentationConfig, embedder: Embedder) -> tuple[list[Hit], str, int]:
    """The chunks kept, the text made of them, and its tokens."""
    kept = without_repetition(hits) if config.deduplicate else list(hits)
    passages = passages_of(kept)
    fitting, tokens = within(passages, config.max_context_tokens, lambda text: len(embedder.tokenize(text)))
    order = best_at_the_ends(fitting) if config.order == "lost_in_the_middle" else range(fitting)
    return kept[:fitting], assembled(passages, order), tokens
