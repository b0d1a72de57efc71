"""The embedder that techniques see: a tokenizer and a worker, with the limits of the model enforced at the door."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import numpy as np

from sibyl_runtime.errors import IngestError, InvalidParameters
from sibyl_runtime.providers.embedding.bulk import in_threads
from sibyl_runtime.providers.embedding.encoder import TokenIds
from sibyl_runtime.providers.embedding.processes import ProcessModel, in_processes
from sibyl_runtime.providers.embedding.tokenizer import Tokenizer
from sibyl_runtime.providers.embedding.worker import EmbeddingWorker
from sibyl_runtime.providers.protocols import BulkSettings, EmbedDocuments, Token, Vectors


@dataclass(frozen=True)
class EmbeddingProfile:
    """What is fixed about an opened model. `window` is its longest input in tokens, markers and prompts included."""

    model: str
    tag: str
    dimension: int
    window: int
    query_prompt: str = ""
    document_prompt: str = ""


class LocalEmbedder:
    """An `Embedder` over a model in this process."""

    def __init__(
        self,
        profile: EmbeddingProfile,
        tokenizer: Tokenizer,
        worker: EmbeddingWorker,
        process_model: ProcessModel | None = None,
    ) -> None:
        """`process_model` is what a process of its own opens to make the same vectors; None: there are no workers."""
        self._process_model = process_model
        self._profile = profile
        self._tokenizer = tokenizer
        self._worker = worker
        self._document_room = profile.window - len(tokenizer.tokens(profile.document_prompt))

    @property
    def tag(self) -> str:
        return self._profile.tag

    @property
    def dimension(self) -> int:
        return self._profile.dimension

    @property
    def max_tokens(self) -> int:
        """Longest document in tokens, the two markers included; what the model's own prompt takes is subtracted."""
        return self._document_room

    def tokenize(self, text: str) -> list[Token]:
        return self._tokenizer.tokens(text)

    async def embed_query(self, text: str) -> Vectors:
        """Shape (dimension,). Raises InvalidParameters for a query that the model cannot read whole, Overloaded."""
        prompted = self._profile.query_prompt + text
        ids = self._tokenizer.ids(prompted)
        if len(ids) > self._profile.window:
            raise InvalidParameters(
                f"query has {len(ids)} tokens; the model reads {self._profile.window}; ask a shorter question"
            )
        return await self._worker.query(prompted, ids)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension). Raises IngestError, and embeds nothing, when a text is too long to be read."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return await self._worker.documents(texts, self._document_ids)

    def bulk(self, settings: BulkSettings) -> AbstractAsyncContextManager[EmbedDocuments]:
        """`embed_documents` with several calls at once, on threads of this process or in processes of their own."""
        if settings.workers:
            if self._process_model is None:
                raise ValueError("this embedder does not know what a process of its own would open")
            return in_processes(self._process_model, settings, tag=self.tag, dimension=self.dimension)
        return in_threads(self._worker, self._document_ids, settings)

    def stats(self) -> dict[str, float]:
        """Queue depths and totals of the worker, for metrics."""
        return self._worker.stats()

    async def close(self) -> None:
        await self._worker.close()

    def _document_ids(self, text: str) -> TokenIds:
        ids = self._tokenizer.ids(self._profile.document_prompt + text)
        if len(ids) > self._profile.window:
            raise IngestError(
                f"a text of {len(ids)} tokens is longer than the {self._profile.window} that {self._profile.model} "
                f"reads; set rag.chunking chunk_size to {self._document_room - 2} or less. It begins: {text[:60]!r}"
            )
        return ids
