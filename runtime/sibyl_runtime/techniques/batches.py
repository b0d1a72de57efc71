"""What flows between the steps of an ingest. A batch holds whole documents: they are stored whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sibyl_runtime.pipeline.stream import Stream
from sibyl_runtime.store.records import Document, EmbeddedDocument
from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.techniques.splitting.chunker import PlannedChunk


@dataclass(frozen=True)
class DocumentBatch:
    """Documents as loaded."""

    documents: Sequence[LoadedDocument]

    @property
    def size(self) -> int:
        """Documents."""
        return len(self.documents)


@dataclass(frozen=True)
class ChunkedDocument:
    """A document that is new or changed, cut into chunks. `known` tells that the store holds a former version."""

    document: Document
    fingerprint: str
    chunks: Sequence[PlannedChunk]
    known: bool


@dataclass(frozen=True)
class ChunkBatch:
    """Documents to embed; empty when all that was looked at is unchanged."""

    documents: Sequence[ChunkedDocument]

    @property
    def size(self) -> int:
        """Chunks."""
        return sum(len(document.chunks) for document in self.documents)


@dataclass(frozen=True)
class VectorBatch:
    """Documents ready to be stored, of which `known` replace a former version."""

    documents: Sequence[EmbeddedDocument]
    known: int

    @property
    def size(self) -> int:
        """Vectors."""
        return sum(len(document.chunks) for document in self.documents)


class DocumentStream(Stream[DocumentBatch]):
    """What `data.load_documents` yields."""


class ChunkStream(Stream[ChunkBatch]):
    """What `rag.chunking` yields."""


class VectorStream(Stream[VectorBatch]):
    """What `rag.embedding` yields."""
