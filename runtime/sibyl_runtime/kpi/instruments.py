"""The seams, counted: a vector store and language models that report to the metrics and otherwise only pass on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from sibyl_runtime.cache import Cache, LevelStats
from sibyl_runtime.errors import SibylError
from sibyl_runtime.kpi.metrics import SUCCESS, RuntimeMetrics, SearchCacheMetrics
from sibyl_runtime.providers.protocols import Generation, GenerationRequest, LanguageModel, Vectors
from sibyl_runtime.store.passing import PassingVectorStore
from sibyl_runtime.store.records import (
    EVERY_ID,
    NEAREST,
    EmbeddedDocument,
    Filters,
    Hit,
    IdRange,
    Ranking,
    VectorStore,
)

CANCELLED = "cancelled"
"""A call that was broken off: the deadline passed, or the client left."""


class MeteredVectorStore(PassingVectorStore):
    """A vector store whose uses are counted: not the status, probes and the command line, which are no questions."""

    def __init__(self, inner: VectorStore, metrics: RuntimeMetrics) -> None:
        super().__init__(inner)
        self._used = metrics.store_used

    async def fingerprints(self, document_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """See VectorStore."""
        self._used("fingerprints")
        return await super().fingerprints(document_ids)

    async def replace(self, documents: Sequence[EmbeddedDocument]) -> int:
        """See VectorStore."""
        self._used("replace")
        return await super().replace(documents)

    async def remove_missing(self, source: str, present: Sequence[str], within: IdRange = EVERY_ID) -> int:
        """See VectorStore."""
        self._used("remove_missing")
        return await super().remove_missing(source, present, within)

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
        self._used("search")
        return await super().search(
            vector, top_k=top_k, ranking=ranking, threshold=threshold, filters=filters, timeout=timeout
        )


class MeteredCache:
    """A cache whose lookups are counted. `name` is the label."""

    def __init__(self, inner: Cache, name: str, metrics: SearchCacheMetrics) -> None:
        self._inner = inner
        self._name = name
        self._metrics = metrics

    async def get(self, key: str) -> bytes | None:
        """See Cache."""
        value = await self._inner.get(key)
        self._metrics.asked(self._name, hit=value is not None)
        return value

    async def set(self, key: str, value: bytes) -> None:
        """See Cache."""
        await self._inner.set(key, value)

    def stats(self) -> dict[str, LevelStats]:
        """See Cache."""
        return self._inner.stats()

    async def close(self) -> None:
        """See Cache."""
        await self._inner.close()


class MeteredLanguageModel:
    """A language model whose calls, tokens and cost are counted. `model` is the label of calls that fail."""

    def __init__(self, inner: LanguageModel, model: str, metrics: RuntimeMetrics) -> None:
        self._inner = inner
        self._model = model
        self._metrics = metrics.models

    @property
    def name(self) -> str:
        """See LanguageModel."""
        return self._inner.name

    async def generate(self, request: GenerationRequest) -> Generation:
        """See LanguageModel."""
        try:
            generation = await self._inner.generate(request)
        except SibylError as error:
            self._metrics.called(self.name, self._model, error.code)
            self._metrics.retried(self.name, self._model, max(0, int(error.details.get("attempts", 1)) - 1))
            raise
        except asyncio.CancelledError:
            self._metrics.called(self.name, self._model, CANCELLED)
            raise
        self._answered(generation)
        return generation

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        """See LanguageModel. A stream that its reader closes before the end is a call that was broken off."""
        outcome = CANCELLED
        try:
            async with aclosing(self._inner.stream(request)) as parts:
                async for part in parts:
                    if isinstance(part, Generation):
                        outcome = SUCCESS
                        self._answered(part)
                    yield part
        except SibylError as error:
            outcome = error.code
            raise
        finally:
            if outcome != SUCCESS:
                self._metrics.called(self.name, self._model, outcome)

    def _answered(self, generation: Generation) -> None:
        # The answer names the model as its provider does (`gpt-4o-2026-05-13`); labels keep the configured name.
        self._metrics.called(self.name, self._model, SUCCESS)
        self._metrics.retried(self.name, self._model, generation.attempts - 1)
        self._metrics.used(
            self.name,
            self._model,
            prompt=generation.prompt_tokens,
            completion=generation.completion_tokens,
            cost_usd=generation.cost_usd,
        )

    async def check(self) -> None:
        """See LanguageModel."""
        await self._inner.check()

    async def close(self) -> None:
        """See LanguageModel."""
        await self._inner.close()
