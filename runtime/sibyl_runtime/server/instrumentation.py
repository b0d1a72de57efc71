"""Connects the metrics to one runtime: the labels it will use, its parts counted, its own figures collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sibyl_runtime import __version__
from sibyl_runtime.cache import ANSWERS, Cache
from sibyl_runtime.kpi import (
    SEMANTIC_CACHE,
    CacheLevelCollector,
    EmbeddingCollector,
    FaissCollector,
    KeepsStats,
    KnownLabels,
    MeteredCache,
    MeteredLanguageModel,
    MeteredVectorStore,
    PoolCollector,
    RuntimeMetrics,
)
from sibyl_runtime.pipeline.context import Services
from sibyl_runtime.pipeline.kept import CHUNKS, VECTORS, Kept, kinds_kept
from sibyl_runtime.workspace import Workspace, latency_buckets, warming_pipelines


def metrics_for(workspace: Workspace) -> RuntimeMetrics:
    """Metrics with every series that this workspace can have, at zero; each latency target is an exact bucket edge."""
    labels = KnownLabels(
        tools=sorted(workspace.effective_tools),
        pipelines={
            name: [step.name for step in pipeline.all_steps] for name, pipeline in workspace.effective_pipelines.items()
        },
        models=_models(workspace),
        vector_store=workspace.default_vector_store[0],
        caches=_caches(workspace),
        search_caches=kinds_kept(workspace.caching),
        warms=bool(warming_pipelines(workspace)),
    )
    return RuntimeMetrics(labels, latency_buckets=latency_buckets(workspace), kpis=workspace.kpis)


def metered(services: Services, metrics: RuntimeMetrics) -> Services:
    """The same services, counted; what keeps its own figures is read at each scrape."""
    if isinstance(services.store, KeepsStats):
        metrics.registry.register(PoolCollector(services.store.stats))
        metrics.registry.register(FaissCollector(services.store.stats))
    if isinstance(services.embedder, KeepsStats):
        metrics.registry.register(EmbeddingCollector(services.embedder.stats))
    models = _models(services.workspace)
    return replace(
        services,
        store=MeteredVectorStore(services.store, metrics),
        language_models={
            name: MeteredLanguageModel(model, models.get(name, name), metrics)
            for name, model in services.language_models.items()
        },
        kept=_metered_kept(services.kept, metrics),
    )


def _metered_kept(kept: Kept, metrics: RuntimeMetrics) -> Kept:
    counts = metrics.search_caches
    if counts is None:
        return kept
    vectors, chunks = kept.vectors, kept.chunks
    return Kept(
        vectors and replace(vectors, cache=MeteredCache(vectors.cache, VECTORS, counts)),
        chunks and replace(chunks, cache=MeteredCache(chunks.cache, CHUNKS, counts)),
    )


def collect_caches(caches: Mapping[str, Cache], metrics: RuntimeMetrics) -> None:
    """Read the levels of each cache, by the kind of what it keeps, at each scrape."""
    if caches:
        metrics.registry.register(CacheLevelCollector(caches))


def identify(metrics: RuntimeMetrics, *, config_hash: str, embedder: str) -> None:
    """Export what runs: the hash of its configuration, its version, the model that makes its vectors."""
    metrics.families.information("sibyl_config_info", "The configuration that was loaded.", {"hash": config_hash})
    facts = {"version": __version__, "embedder": embedder}
    metrics.families.information("sibyl_build_info", "The program and its embedding model.", facts)


def _caches(workspace: Workspace) -> tuple[str, ...]:
    caching = workspace.caching
    used = {ANSWERS: caching.keeps_answers, SEMANTIC_CACHE: caching.semantic_cache is not None}
    return tuple(name for name, use in used.items() if use)


def _models(workspace: Workspace) -> dict[str, str]:
    """The configured model by the provider's name; its kind where it has no model (extractive)."""
    return {name: provider.model or provider.kind for name, provider in workspace.language_models.items()}
