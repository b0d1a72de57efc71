"""Tracing that is on: the parts of a runtime with spans around them, and the way of those spans to the collector."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from opentelemetry.trace import format_trace_id

from sibyl_runtime import __version__
from sibyl_runtime.pipeline.context import Services
from sibyl_runtime.techniques.technique import Technique
from sibyl_runtime.tracing import TRACE_ID, CallFacts
from sibyl_runtime.tracing.export import CLOSE_SECONDS, close_provider, open_provider
from sibyl_runtime.tracing.instruments import (
    Served,
    TracedEmbedder,
    TracedLanguageModel,
    TracedTechnique,
    TracedVectorStore,
)
from sibyl_runtime.tracing.spans import Spans
from sibyl_runtime.workspace import Tracing as Settings
from sibyl_runtime.workspace import Workspace

_CONTINUED = (b"traceparent", b"tracestate")


class Recording:
    """A `Tracing` that sends its spans by OTLP."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        """Opens the exporter; nothing is sent. Raises StartupError for a variable that cannot be used."""
        self._settings = settings
        self._provider = open_provider(workspace, settings)
        self._spans = Spans(self._provider.get_tracer("sibyl", __version__))
        self._closed = False

    @contextmanager
    def call(self, facts: CallFacts) -> Iterator[None]:
        """See Tracing."""
        headers = {name.decode(): value.decode("latin-1") for name, value in facts.headers if name in _CONTINUED}
        with self._spans.root("tools/call", headers) as span:
            if span.is_recording():
                facts.trace_id = format_trace_id(span.get_span_context().trace_id)
                TRACE_ID.set(facts.trace_id)
            span.set_attribute("sibyl.request_id", facts.id)
            try:
                yield
            finally:
                # A name that no tool has is a stranger's text, and names of spans are few.
                if facts.tool is not None:
                    span.update_name(f"tools/call {facts.tool}")
                    span.set_attribute("gen_ai.tool.name", facts.tool)
                if facts.cache is not None:
                    span.set_attribute("sibyl.cache", facts.cache)
                if facts.cache_kind is not None:
                    span.set_attribute("sibyl.cache_kind", facts.cache_kind)
                if facts.cache_kind == "semantic" and facts.similarity is not None:
                    span.set_attribute("sibyl.cache_similarity", facts.similarity)

    def services(self, services: Services) -> Services:
        """See Tracing."""
        workspace = services.workspace
        providers = workspace.language_models
        return replace(
            services,
            store=TracedVectorStore(services.store, workspace.default_vector_store[1].collection_name, self._spans),
            embedder=TracedEmbedder(services.embedder, Served.of(workspace.default_embedding[1]), self._spans),
            language_models={
                name: TracedLanguageModel(
                    model, Served.of(providers[name]), self._spans, capture_content=self._settings.capture_content
                )
                for name, model in services.language_models.items()
            },
        )

    def techniques(self, registry: Mapping[str, Technique]) -> Mapping[str, Technique]:
        """See Tracing."""
        return {name: TracedTechnique(technique, self._spans) for name, technique in registry.items()}

    async def close(self) -> None:
        """See Tracing. May be called twice."""
        if self._closed:
            return
        self._closed = True
        thread = close_provider(self._provider)
        await asyncio.to_thread(thread.join, CLOSE_SECONDS)
