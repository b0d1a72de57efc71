"""The seams, traced: what answers, searches, embeds and takes a step, with a span around it.

Names and attributes are those of OpenTelemetry's conventions for generative AI and for database clients. None holds
text of users or documents, unless `capture_content` asks for that of language models.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.embedding.passing import PassingEmbedder
from sibyl_runtime.providers.protocols import (
    Embedder,
    Generation,
    GenerationRequest,
    LanguageModel,
    Vectors,
)
from sibyl_runtime.store.passing import PassingVectorStore
from sibyl_runtime.store.records import (
    NEAREST,
    Filters,
    Hit,
    Ranking,
    VectorStore,
)
from sibyl_runtime.techniques.technique import Technique
from sibyl_runtime.tracing.spans import Spans, ended, inside
from sibyl_runtime.workspace import EmbeddingProvider, LlmProvider

OPENAI_HOST: Final = "api.openai.com"
LOCAL: Final = "sibyl"
"""The provider of models that run in this process: the conventions know no name for it."""


@dataclass(frozen=True)
class Served:
    """A model as spans name it: what it is called, who serves it, and where; `host` None for this process."""

    model: str
    provider: str
    host: str | None
    port: int | None
    max_tokens: int | None = None

    @classmethod
    def of(cls, provider: LlmProvider | EmbeddingProvider) -> Served:
        """The model of a provider. `openai` says which API is spoken, as the conventions want it."""
        longest = provider.max_tokens if isinstance(provider, LlmProvider) else None
        model = provider.model or provider.kind
        if provider.kind != "openai":
            return cls(model, LOCAL, None, None, longest)
        address = urlsplit(provider.base_url or f"https://{OPENAI_HOST}")
        port = address.port or (80 if address.scheme == "http" else 443)
        return cls(model, "openai", address.hostname, port, longest)

    @property
    def kind(self) -> SpanKind:
        """A call of another process, or work within this one."""
        return SpanKind.INTERNAL if self.host is None else SpanKind.CLIENT

    def attributes(self, operation: str) -> dict[str, Any]:
        """What is known before the model is asked."""
        found = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": self.provider,
            "gen_ai.request.model": self.model,
        }
        return found if self.host is None else {**found, "server.address": self.host, "server.port": self.port}


class TracedLanguageModel:
    """A language model with a span `chat MODEL` around each call, all of its attempts together."""

    def __init__(self, inner: LanguageModel, served: Served, spans: Spans, *, capture_content: bool) -> None:
        self._inner = inner
        self._served = served
        self._spans = spans
        self._content = capture_content

    @property
    def name(self) -> str:
        """See LanguageModel."""
        return self._inner.name

    async def generate(self, request: GenerationRequest) -> Generation:
        """See LanguageModel."""
        span = self._begin(request)
        with ended(span), inside(span):
            generation = await self._inner.generate(request)
            self._answered(span, generation)
            return generation

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        """See LanguageModel. The span ends with the last part, or when the reader closes the stream."""
        span = self._begin(request, stream=True)
        whole: Generation | None = None
        with ended(span):
            async with aclosing(self._inner.stream(request)) as parts:
                while whole is None:
                    with inside(span):
                        part = await anext(parts)
                    if isinstance(part, Generation):
                        self._answered(span, part)
                        whole = part
                    else:
                        yield part
        # After the span: a reader who has the whole closes the stream here, and breaks nothing off.
        yield whole

    def _begin(self, request: GenerationRequest, *, stream: bool = False) -> Span:
        longest = self._served.max_tokens if request.max_tokens is None else request.max_tokens
        attributes = self._served.attributes("chat") | {"sibyl.provider": self.name}
        if stream:
            attributes["gen_ai.request.stream"] = True
        if longest is not None:
            attributes["gen_ai.request.max_tokens"] = longest
        if request.temperature is not None:
            attributes["gen_ai.request.temperature"] = request.temperature
        if self._content:
            attributes["gen_ai.input.messages"] = json.dumps([_message("user", request.prompt)])
        return self._spans.begin(f"chat {self._served.model}", attributes, self._served.kind)

    def _answered(self, span: Span, generation: Generation) -> None:
        span.set_attribute("gen_ai.response.model", generation.model)
        span.set_attribute("gen_ai.response.finish_reasons", [generation.finish_reason])
        # A server that does not count gives zeros for both; a prompt is never that short.
        if generation.prompt_tokens:
            span.set_attribute("gen_ai.usage.input_tokens", generation.prompt_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", generation.completion_tokens)
        if generation.attempts > 1:
            span.set_attribute("sibyl.attempts", generation.attempts)
        if self._content:
            told = {**_message("assistant", generation.text), "finish_reason": generation.finish_reason}
            span.set_attribute("gen_ai.output.messages", json.dumps([told]))

    async def check(self) -> None:
        """See LanguageModel."""
        await self._inner.check()

    async def close(self) -> None:
        """See LanguageModel."""
        await self._inner.close()


class TracedEmbedder(PassingEmbedder):
    """An embedder with a span `embeddings MODEL` around each call; an ingest, which is no tool call, has none."""

    def __init__(self, inner: Embedder, served: Served, spans: Spans) -> None:
        super().__init__(inner)
        self._name = f"embeddings {served.model}"
        self._kind = served.kind
        self._attributes = {
            **served.attributes("embeddings"),
            "gen_ai.embeddings.dimension.count": inner.dimension,
        }
        self._spans = spans

    async def embed_query(self, text: str) -> Vectors:
        """See Embedder."""
        with self._spans.child(self._name, self._attributes, self._kind):
            return await self._inner.embed_query(text)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """See Embedder."""
        with self._spans.child(self._name, {**self._attributes, "sibyl.texts": len(texts)}, self._kind):
            return await self._inner.embed_documents(texts)


class TracedVectorStore(PassingVectorStore):
    """A vector store with a span around each search; a pool's wait for a connection is part of it."""

    def __init__(self, inner: VectorStore, collection: str, spans: Spans) -> None:
        super().__init__(inner)
        self._name = f"SELECT {collection}"
        self._attributes = {
            "db.system.name": "postgresql",
            "db.operation.name": "SELECT",
            "db.collection.name": collection,
        }
        self._spans = spans

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
        attributes = {**self._attributes, "sibyl.search.strategy": ranking.strategy, "sibyl.search.top_k": top_k}
        with self._spans.child(self._name, attributes, SpanKind.CLIENT) as span:
            found = await super().search(
                vector, top_k=top_k, ranking=ranking, threshold=threshold, filters=filters, timeout=timeout
            )
            span.set_attribute("db.response.returned_rows", len(found))
            return found


class TracedTechnique:
    """A technique with a span `step NAME` around each step that it takes."""

    def __init__(self, inner: Technique, spans: Spans) -> None:
        self._inner = inner
        self._spans = spans
        self.id = inner.id
        self.stage = inner.stage
        self.merges = inner.merges

    async def run(self, context: StepContext, config: Any) -> Mapping[str, Any]:
        """See Technique."""
        attributes = {"sibyl.pipeline": context.pipeline, "sibyl.step": context.step, "sibyl.technique": self.id}
        with self._spans.child(f"step {context.step}", attributes):
            return await self._inner.run(context, config)


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
