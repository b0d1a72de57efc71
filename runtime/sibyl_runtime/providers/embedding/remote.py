"""Vectors from any server that speaks OpenAI's embeddings API.

The client library makes the retries here: nobody waits for a document, and the deadline of a question is kept by the
pipeline. Every answer is checked: as many vectors as texts, all of one length, of numbers, in the order asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import openai

from sibyl_runtime.errors import IngestError, InvalidParameters, ProviderError, SibylError, StartupError
from sibyl_runtime.providers.llm.openai_failures import Identity, explain, is_transient
from sibyl_runtime.providers.llm.prices import ModelPrice
from sibyl_runtime.providers.openai_client import OPENAI_URL, omitted_headers, open_client
from sibyl_runtime.providers.outgoing import OUTGOING
from sibyl_runtime.providers.protocols import BulkSettings, EmbedDocuments, Token, Vectors

if TYPE_CHECKING:
    from sibyl_runtime.workspace import EmbeddingProvider

# What OpenAI's own models read, and how much one request to it may hold.
LONGEST_TEXT = 8191
REQUEST_TOKENS = 300_000

MOST_CONNECTIONS = 100

# How a text is counted: which tokenizer the server uses is not known here.
_PIECE = re.compile(r"[A-Za-z]{1,6}|[0-9]{1,3}|[^\sA-Za-z0-9]")


class RemoteEmbedder:
    """An `Embedder` over HTTP. Made by `open_remote`, which asks for the first vector."""

    def __init__(self, name: str, provider: EmbeddingProvider) -> None:
        """Open a client; nothing is sent. Raises StartupError, naming the field, for settings that cannot work."""
        self._provider = provider
        self._who = _identity(name, provider)
        self._price = ModelPrice(self._who.model, self._who.base_url)
        limits = httpx2.Limits(max_connections=MOST_CONNECTIONS)
        self._client = open_client(self._who, provider, limits, max_retries=provider.max_retries)
        self._headers = omitted_headers(provider)
        self._window = provider.max_seq_length or LONGEST_TEXT
        self._stats = {"queries": 0.0, "query_seconds": 0.0, "documents": 0.0, "tokens": 0.0}
        self.dimension = provider.dimensions or 0
        """Numbers per vector; known for sure once the first has come."""

    async def open(self) -> None:
        """Ask for one vector: proves address, key and model, and tells its length. Raises StartupError."""
        try:
            vector = (await self._vectors(["warm-up"]))[0]
        except SibylError as error:
            raise StartupError(f"{self._who.field}.model: {error.message}") from error
        wanted = self._provider.dimensions
        if wanted is not None and len(vector) != wanted:
            raise StartupError(
                f"{self._who.field}.dimensions: {wanted} was asked for, and {self._who.host} gives vectors of "
                f"{len(vector)} numbers with {self._who.model}; set {len(vector)}, or remove it"
            )
        self.dimension = len(vector)

    @property
    def tag(self) -> str:
        own_length = "" if self._provider.normalize else "/own-length"
        return f"{self._who.model}@{self._who.host}/{self.dimension}{own_length}"

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens as they are counted here, `max_seq_length` or 8191."""
        return self._window

    def tokenize(self, text: str) -> list[Token]:
        """An estimate: pieces of up to six letters or three digits, every other character alone."""
        return [Token(piece.start(), piece.end()) for piece in _PIECE.finditer(text)]

    async def embed_query(self, text: str) -> Vectors:
        """Shape (dimension,). Raises InvalidParameters for a long query; as `embed_documents` does for the server."""
        tokens = len(self.tokenize(text))
        if tokens > self._window:
            raise InvalidParameters(
                f"query has about {tokens} tokens; the model reads {self._window}; ask a shorter question"
            )
        started = time.perf_counter()
        vectors = await self._vectors([text])
        self._stats["queries"] += 1
        self._stats["query_seconds"] += time.perf_counter() - started
        (vector,) = self._checked(vectors)
        found: Vectors = vector
        return found

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), in requests of `batch_size` texts.

        Raises IngestError for a long text; ProviderError, Overloaded or DeadlineExceeded where the server fails.
        """
        made = np.empty((len(texts), self.dimension), dtype=np.float32)
        for part in _requests([self._counted(text) for text in texts], self._provider.batch_size):
            made[part] = self._checked(await self._vectors(list(texts[part])))
        self._stats["documents"] += len(texts)
        return made

    @asynccontextmanager
    async def bulk(self, settings: BulkSettings) -> AsyncIterator[EmbedDocuments]:
        """`embed_documents`: as many requests at once as there are calls."""
        yield self.embed_documents

    def stats(self) -> dict[str, float]:
        """Totals since the start; `cost_usd` only where the price of the model is known."""
        cost = self._price.cost(prompt_tokens=int(self._stats["tokens"]), cached_tokens=0, completion_tokens=0)
        return dict(self._stats) if cost is None else {**self._stats, "cost_usd": float(cost)}

    async def close(self) -> None:
        await self._client.close()

    def _counted(self, text: str) -> int:
        tokens = len(self.tokenize(text))
        if tokens > self._window:
            raise IngestError(
                f"a text of about {tokens} tokens is longer than the {self._window} that {self._who.model} reads; set "
                f"rag.chunking chunk_size lower. It begins: {text[:60]!r}"
            )
        return tokens

    async def _vectors(self, texts: list[str]) -> Vectors:
        dimensions = self._provider.dimensions
        try:
            answer = await self._client.embeddings.create(
                model=self._who.model,
                input=texts,
                encoding_format="float",
                dimensions=openai.omit if dimensions is None else dimensions,
                extra_headers={**self._headers, **OUTGOING.get()},
            )
        except openai.APIError as error:
            attempts = self._provider.max_retries + 1 if is_transient(error) else 1
            raise explain(error, self._who, attempts=attempts, seconds=self._provider.timeout) from error
        except ValueError as error:
            raise self._no_embeddings() from error
        used = getattr(getattr(answer, "usage", None), "prompt_tokens", 0)
        self._stats["tokens"] += used if isinstance(used, int) else 0
        return self._read(answer, len(texts))

    def _read(self, answer: Any, texts: int) -> Vectors:
        """The vectors in the order asked, at unit length where that is wanted. Servers vary: all is checked."""
        try:
            rows = sorted(answer.data, key=lambda row: int(row.index))
            vectors = np.array([row.embedding for row in rows], dtype=np.float32)
        except (AttributeError, TypeError, ValueError):
            raise self._no_embeddings() from None
        if [row.index for row in rows] != list(range(texts)) or vectors.ndim != 2:
            raise self._who.error(f"{self._who.host} answers {texts} texts with other vectors than asked for")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._who.error(f"{self._who.host} gives vectors without a direction, of zeros or not of numbers")
        made: Vectors = vectors / lengths if self._provider.normalize else vectors
        return made

    def _checked(self, vectors: Vectors) -> Vectors:
        if vectors.shape[1] != self.dimension:
            raise self._who.error(
                f"{self._who.host} gives vectors of {vectors.shape[1]} numbers, where it gave {self.dimension} before: "
                "the model behind this name has changed; restart, and ingest anew"
            )
        return vectors

    def _no_embeddings(self) -> ProviderError:
        return self._who.error(f"{self._who.host} answers with something that is no list of vectors; check base_url")


async def open_remote(name: str, provider: EmbeddingProvider) -> RemoteEmbedder:
    """The model of `providers.embedding.<name>`, proven by its first vector. Raises StartupError naming the field."""
    embedder = RemoteEmbedder(name, provider)
    try:
        await embedder.open()
    except BaseException:
        await embedder.close()
        raise
    return embedder


def _requests(tokens: Sequence[int], most_texts: int) -> Iterator[slice]:
    """Texts cut into requests of at most so many, and of no more tokens than one request may hold."""
    start = held = 0
    for position, count in enumerate(tokens):
        if position > start and (position - start == most_texts or held + count > REQUEST_TOKENS):
            yield slice(start, position)
            start, held = position, 0
        held += count
    if start < len(tokens):
        yield slice(start, len(tokens))


def _identity(name: str, provider: EmbeddingProvider) -> Identity:
    address, key = provider.base_url or OPENAI_URL, provider.api_key or ""
    return Identity(name, provider.model, address, key, kind="embedding", stage="embed")
