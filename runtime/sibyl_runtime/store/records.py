"""What goes into a vector store and what comes out: plain records, and the Protocol that techniques use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.workspace.filters import Condition

Filters = Mapping[str, Any] | Sequence[Condition]
Strategy = Literal["vector", "keyword", "hybrid"]


@dataclass(frozen=True)
class Document:
    """One document as loaded. `source` names the load that owns it, and `id` is unique within that."""

    id: str
    source: str
    title: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """A part of a document: `ordinal` counts from 0, `heading` is the path of headings above it (may be empty)."""

    ordinal: int
    content: str
    heading: str
    tokens: int


@dataclass(frozen=True)
class EmbeddedDocument:
    """A document ready to be stored: one vector per chunk, `vectors` of shape (len(chunks), dimension).

    `fingerprint` covers content, title, metadata, chunking settings and embedder tag: equal means nothing to do.
    """

    document: Document
    fingerprint: str
    chunks: Sequence[Chunk]
    vectors: Vectors


@dataclass(frozen=True)
class Hit:
    """A chunk found. `score` is similarity, higher is nearer: cosine similarity for `cosine` (-1 to 1).

    It says how near the chunk is, whatever put it in its place: only `vector` sorts by it. `tokens` is the chunk's
    length; `embedding` is its vector, shape (dimension,), when the ranking asked for it.
    """

    chunk_id: int
    document_id: str
    title: str
    heading: str
    content: str
    score: float
    metadata: Mapping[str, Any]
    tokens: int = 0
    embedding: Vectors | None = field(default=None, repr=False, compare=False)
    rerank_score: float | None = None
    """What a reranking step gave it, higher is better, on that step's own scale; None when none did."""


@dataclass(frozen=True)
class Ranking:
    """What puts chunks in order. `vector`: nearness. `keyword`: the words that they share with `text`, rare ones first
    of all, and only chunks that share one. `hybrid`: both orders, fused by reciprocal rank.
    """

    strategy: Strategy = "vector"
    text: str = ""
    embeddings: bool = False
    """Return the chunks' vectors too."""


NEAREST = Ranking()


@dataclass(frozen=True)
class IdRange:
    """The ids above `after`, up to and with `through`, in the order of their code points; None: no bound there."""

    after: str | None = None
    through: str | None = None


EVERY_ID = IdRange()


@dataclass(frozen=True)
class StoreCounts:
    """Rows in the collection now. `corpus_version` grows by one with every commit that changes it."""

    documents: int
    chunks: int
    corpus_version: int


class VectorStore(Protocol):
    """A collection of embedded documents. Every method raises DatabaseUnavailable, Overloaded (pool full) or
    DeadlineExceeded (`timeout`, seconds)."""

    async def fingerprints(self, document_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The stored fingerprints of each known id, by the source that it comes from."""

    async def replace(self, documents: Sequence[EmbeddedDocument]) -> int:
        """Store documents with their chunks, each replacing its former self; one transaction; chunks written."""

    async def remove_missing(self, source: str, present: Sequence[str], within: IdRange = EVERY_ID) -> int:
        """Delete the documents of `source` with an id `within` a range that is not in `present`; documents removed."""

    async def sources(self) -> dict[str, int]:
        """Every source, and how many documents it has in the collection; the largest first."""

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
        """At most `top_k` chunks, best first by `ranking`; none with a score below `threshold`."""

    async def ensure_index(self) -> None:
        """After a load: build or rebuild the approximate index where the collection's size and settings ask for it."""

    async def counts(self) -> StoreCounts:
        """Rows and version now."""

    async def check(self) -> None:
        """Cheap proof that the store answers."""

    def remarks(self) -> Mapping[str, Any]:
        """What is known without asking: `last_failed_write`, while none has succeeded since, and `replicas`."""

    async def close(self) -> None:
        """Close the pool."""
