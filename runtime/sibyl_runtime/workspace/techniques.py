"""The techniques by name: what they are called, what their settings are, and which of them this version has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sibyl_runtime.workspace.errors import nearest
from sibyl_runtime.workspace.result_kinds import CHUNKS, SPENT, Kind, numbers
from sibyl_runtime.workspace.search_configs import AugmentationConfig, QueryProcessingConfig
from sibyl_runtime.workspace.shops import canonical_shop
from sibyl_runtime.workspace.step_configs import (
    AnyConfig,
    ChunkingConfig,
    EmbeddingConfig,
    GenerationConfig,
    LoadDocumentsConfig,
    QueryClassifierConfig,
    RerankingConfig,
    RetrievalConfig,
    StepConfig,
    StoreVectorsConfig,
)
from sibyl_runtime.workspace.warming import CacheWarmingConfig


class UnknownTechnique(ValueError):
    """No technique has this name; the message names the nearest and those available."""


@dataclass(frozen=True)
class TechniqueSpec:
    """What the contract knows of a technique. `results` are the fields that conditions may refer to,
    each with its kind.

    `needs` is the technique that must come earlier in the same pipeline.
    """

    id: str
    config: type[StepConfig] = AnyConfig
    available: bool = False
    results: Mapping[str, Kind] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    needs: str | None = None

    @property
    def shop(self) -> str:
        """`rag` of `rag.retrieval`."""
        return self.id.partition(".")[0]

    @property
    def short(self) -> str:
        """`retrieval` of `rag.retrieval`: the name of a step that has none of its own."""
        return self.id.partition(".")[2]


_AVAILABLE = (
    TechniqueSpec(
        "data.load_documents",
        LoadDocumentsConfig,
        True,
        {"documents": Kind.STREAM, **numbers("count")},
        ("data.loader",),
    ),
    TechniqueSpec(
        "rag.chunking",
        ChunkingConfig,
        True,
        {"chunks": Kind.STREAM, **numbers("count")},
        needs="data.load_documents",
    ),
    TechniqueSpec(
        "rag.embedding",
        EmbeddingConfig,
        True,
        {"vectors": Kind.STREAM, **numbers("count")},
        needs="rag.chunking",
    ),
    TechniqueSpec(
        "data.store_vectors",
        StoreVectorsConfig,
        True,
        numbers("documents", "chunks", "unchanged", "removed"),
        ("data.storer",),
        needs="rag.embedding",
    ),
    TechniqueSpec("rag.retrieval", RetrievalConfig, True, CHUNKS, ("rag.search",)),
    TechniqueSpec(
        "ai_generation.generation",
        GenerationConfig,
        True,
        {
            **SPENT,
            **numbers("prompt_tokens", "completion_tokens", "attempts"),
            "answer": Kind.TEXT,
            "sources": Kind.LIST,
            "finish_reason": Kind.TEXT,
            "provider": Kind.TEXT,
            "fallback": Kind.TRUTH,
        },
        needs="rag.retrieval",
    ),
    TechniqueSpec(
        "rag.reranking",
        RerankingConfig,
        True,
        {
            **CHUNKS,
            **SPENT,
            **numbers("candidates", "shortened"),
            "subtechnique": Kind.TEXT,
            "fallback": Kind.TRUTH,
        },
        needs="rag.retrieval",
    ),
    TechniqueSpec(
        "rag.query_processing",
        QueryProcessingConfig,
        True,
        {**SPENT, **numbers("count"), "queries": Kind.LIST, "passages": Kind.LIST, "fallback": Kind.TRUTH},
    ),
    TechniqueSpec(
        "rag.augmentation",
        AugmentationConfig,
        True,
        {**CHUNKS, **numbers("dropped", "context_tokens"), "context": Kind.TEXT},
        needs="rag.retrieval",
    ),
    TechniqueSpec(
        "infrastructure.query_classifier",
        QueryClassifierConfig,
        True,
        {**numbers("complexity", "threshold"), "is_complex": Kind.TRUTH, "rules": Kind.LIST},
    ),
    TechniqueSpec(
        "infrastructure.cache_warming",
        CacheWarmingConfig,
        True,
        {
            **numbers("queries", "computed", "found", "empty", "unkept", "failed", "tokens", "cost_usd"),
            "failures": Kind.LIST,
        },
    ),
)

_BY_NAME_ONLY: Mapping[str, tuple[str, ...]] = {
    "rag": ("ranking", "validation"),
    "ai_generation": ("consensus", "validation", "formatting", "voting"),
    "infrastructure": (
        "caching", "security", "evaluation", "checkpointing", "learning", "workflow_optimization", "rate_limiting",
        "resilience", "budget_allocation", "token_management", "scoring", "logging", "metrics", "cleanup",
        "compression",
    ),
    "data": ("export", "export_user_data", "delete_user_documents", "get_stats", "query_sql"),
    "workflow": (
        "session_management", "context_management", "graph", "orchestration", "execution", "planning",
        "orchestration_strategies",
    ),
    "notifications": ("send", "alert"),
}  # fmt: skip

_NAMED = tuple(TechniqueSpec(f"{shop}.{name}") for shop, names in _BY_NAME_ONLY.items() for name in names)

TECHNIQUES: Mapping[str, TechniqueSpec] = MappingProxyType({spec.id: spec for spec in (*_AVAILABLE, *_NAMED)})
SHOPS: frozenset[str] = frozenset(spec.shop for spec in TECHNIQUES.values())
_ALIASES = {alias: spec.id for spec in TECHNIQUES.values() for alias in spec.aliases}


def canonical_use(use: str) -> str:
    """The canonical id that `use` means: `rag-pipeline.query-processing` is `rag.query_processing`.

    A name that no technique has is returned in canonical spelling.
    """
    shop, dot, name = use.strip().partition(".")
    spelling = f"{canonical_shop(shop)}{dot}{name.replace('-', '_')}"
    return _ALIASES.get(spelling, spelling)


def technique(id_or_alias: str) -> TechniqueSpec:
    """The technique of this name. Raises UnknownTechnique."""
    spec = TECHNIQUES.get(canonical_use(id_or_alias))
    if spec is None:
        near = nearest(id_or_alias, TECHNIQUES)
        hint = f"did you mean {near}?" if near else "its form is <shop>.<technique>;"
        raise UnknownTechnique(f'no technique is called "{id_or_alias}"; {hint} available: {available_techniques()}')
    return spec


def available_techniques() -> str:
    """The ids of this version's techniques, sorted, as one text."""
    return ", ".join(sorted(spec.id for spec in TECHNIQUES.values() if spec.available))


def techniques_of(shop: str) -> tuple[TechniqueSpec, ...]:
    """The techniques of a shop, in the order of the registry."""
    return tuple(spec for spec in TECHNIQUES.values() if spec.shop == shop)
