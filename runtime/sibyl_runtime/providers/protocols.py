"""The seam between techniques and models, so that a technique never knows which library answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Token:
    """One token of a text as the embedding model counts it: character offsets, end exclusive."""

    start: int
    end: int


@dataclass(frozen=True)
class BulkSettings:
    """How an ingest embeds: calls at once; processes, 0 for none but this one; memory handed back after each call."""

    max_concurrent: int = 1
    workers: int = 0
    free_memory: bool = False


EmbedDocuments = Callable[[Sequence[str]], Awaitable[Vectors]]
"""Texts to vectors of shape (len(texts), dimension), in the order given."""


class Embedder(Protocol):
    """Turns texts into vectors, of unit length unless the workspace says otherwise."""

    @property
    def tag(self) -> str:
        """What made the vectors: model, revision, precision, pooling, length. Vectors of two tags never mix."""

    @property
    def dimension(self) -> int:
        """Numbers per vector."""

    @property
    def max_tokens(self) -> int:
        """Longest text that the model reads, in tokens, its two markers included."""

    def tokenize(self, text: str) -> list[Token]:
        """The tokens of `text`, without the model's markers and never truncated."""

    async def embed_query(self, text: str) -> Vectors:
        """One vector, shape (dimension,). Ahead of documents in the queue. Raises Overloaded when the queue is full."""

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), in the order given. Waits for room in the queue."""

    def bulk(self, settings: BulkSettings) -> AbstractAsyncContextManager[EmbedDocuments]:
        """`embed_documents` for an ingest, of which `max_concurrent` calls go on at once; what it needs ends with it.

        Raises StartupError for processes that cannot start, StepFailed for one that ends before its answer.
        """

    async def close(self) -> None:
        """End the worker thread."""


@dataclass(frozen=True)
class Relevance:
    """How well passages answer a question: 0 to 1 each, in their order. `shortened` of them lost their end, because
    they were longer than what the model reads."""

    scores: Sequence[float]
    shortened: int


class CrossEncoder(Protocol):
    """Reads a question and a passage together, and says how well the one answers the other."""

    @property
    def tag(self) -> str:
        """What gives the scores: model, revision, precision, length."""

    async def compare(self, question: str, passages: Sequence[str]) -> Relevance:
        """Raises InvalidParameters for a question that is too long, Overloaded when the queue is full."""

    async def close(self) -> None:
        """End the worker thread."""


@dataclass(frozen=True)
class Passage:
    """A retrieved chunk as a language model sees it. `score` is a cosine similarity, -1 to 1."""

    title: str
    content: str
    score: float


@dataclass(frozen=True)
class GenerationRequest:
    """What to answer, from what, within which bounds. `timeout` in seconds; None leaves it to the provider.

    `answer_schema` is the JSON Schema that the text of the answer should fit; the model is asked, not trusted.
    """

    question: str
    passages: Sequence[Passage]
    prompt: str
    max_tokens: int | None = None
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()
    timeout: float | None = None
    answer_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Generation:
    """An answer and what it took. `cited` holds the positions in `passages` that the answer rests on.

    `cost_usd` is None when the model's price is not known: never 0 by silence. `attempts` counts how often the request
    was sent.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    cited: tuple[int, ...] = ()
    cost_usd: Decimal | None = None
    attempts: int = 1


class LanguageModel(Protocol):
    """Answers a question from passages."""

    @property
    def name(self) -> str:
        """The provider's key in the workspace: `primary` in `providers.llm.primary`."""

    async def generate(self, request: GenerationRequest) -> Generation:
        """Raises ProviderError, Overloaded (the provider's 429) or DeadlineExceeded."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        """The text as it is written, in parts of any length, and last the Generation of all of it.

        Nothing is asked for while the reader works on a part. Closing the generator ends the call. Raises as `generate`
        does, also between two parts.
        """

    async def check(self) -> None:
        """Cheap proof that the provider can be used; raises as `generate` does. Never spends tokens."""

    async def close(self) -> None:
        """Release connections."""
