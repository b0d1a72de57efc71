"""The whole workspace document, and what it means where it says nothing."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from sibyl_runtime.workspace.base import FIELD_RULE, StrictModel, planned
from sibyl_runtime.workspace.caching import Caching
from sibyl_runtime.workspace.defaults import effective_pipelines, effective_tools
from sibyl_runtime.workspace.mcp import Mcp, Tool
from sibyl_runtime.workspace.observability import DEFAULT_KPIS, Kpi, Observability
from sibyl_runtime.workspace.pipelines import Budget, Pipeline
from sibyl_runtime.workspace.providers import (
    EmbeddingProvider,
    LlmProvider,
    Providers,
    VectorStoreProvider,
    default_provider,
)
from sibyl_runtime.workspace.shops import Shop, canonical_shop
from sibyl_runtime.workspace.text import Name, Text


def _by_canonical_id(written: dict[str, Shop]) -> dict[str, Shop]:
    shops: dict[str, Shop] = {}
    for spelling, shop in written.items():
        name = canonical_shop(spelling)
        if name in shops:
            raise PydanticCustomError(
                FIELD_RULE,
                "{message}",
                {"message": f'the shop "{name}" occurs twice, under different spellings; keep one', "field": None},
            )
        shops[name] = shop
    return shops


class Workspace(StrictModel):
    """A workspace document that was read. `shops` has canonical ids; all else is as written, with defaults."""

    name: Text = Field("workspace", description="Name of the workspace.")
    description: str | None = Field(None, description="What the workspace is for.")
    version: Text | None = Field(None, description="Version of the document, in quotes.")
    author: str | None = Field(None, description="Who answers for it.")
    tags: list[str] = Field([], description="Words to find it by.")
    providers: Providers = Field(Providers(), description="Models and vector stores.")
    shops: Annotated[dict[str, Shop], AfterValidator(_by_canonical_id)] = Field(
        {}, description="Settings that all pipelines share, by group of techniques."
    )
    pipelines: dict[Name, Pipeline] = Field({}, description="Named lists of steps.")
    mcp: Mcp = Field(Mcp(), description="The server that offers pipelines as tools.")
    observability: Observability = Field(Observability(), description="What is measured and logged.")
    budget: Budget | None = planned("Limits of what all runs may spend.")
    state: dict[str, Any] | None = planned("State kept between runs.")
    security: dict[str, Any] | None = planned("Security settings.")
    performance: dict[str, Any] | None = planned("Performance settings.")
    extensions: dict[str, Any] | None = planned("Plugins and hooks.")
    experimental: dict[str, Any] | None = planned("Settings on trial.")

    @cached_property
    def effective_pipelines(self) -> dict[str, Pipeline]:
        """The pipelines of the document, and the built-in `search` and `ingest` where it has none of that name."""
        return effective_pipelines(self.pipelines)

    @cached_property
    def effective_tools(self) -> dict[str, Tool]:
        """The tools of the document; when it has none, `search_documents`."""
        return effective_tools(self.mcp.tools, self.effective_pipelines)

    @cached_property
    def default_llm(self) -> tuple[str, LlmProvider]:
        """The language model of a step that names none; the extractive one when the document has none."""
        return default_provider(self.providers.llm, LlmProvider(kind="extractive"))

    @cached_property
    def language_models(self) -> dict[str, LlmProvider]:
        """Every language model that a step can ask, by name; the default first."""
        name, default = self.default_llm
        return {name: default, **self.providers.llm}

    @cached_property
    def default_embedding(self) -> tuple[str, EmbeddingProvider]:
        """The embedding model; all-MiniLM-L6-v2 on the processor when the document has none."""
        return default_provider(self.providers.embedding, EmbeddingProvider())

    @cached_property
    def default_vector_store(self) -> tuple[str, VectorStoreProvider]:
        """The vector store; an embedded PostgreSQL when the document has none."""
        return self.providers.vector_store.default

    @cached_property
    def caching(self) -> Caching:
        """`shops.infrastructure.config.caching`; all off when it is not written, or the shop is disabled."""
        shop = self.shops.get("infrastructure", Shop())
        try:
            return Caching.model_validate(shop.config.get("caching", {}) if shop.enabled else {})
        except ValidationError:  # parse_workspace has reported it; nothing may be cached by mistake
            return Caching()

    @property
    def kpis(self) -> tuple[Kpi, ...]:
        """The figures as written; the guide's p50 1 s, p95 3 s and p99 5 s when none is written."""
        return tuple(self.observability.kpis) or DEFAULT_KPIS
