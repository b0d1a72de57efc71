"""What is measured: the documented metric names, counted truthfully and cheaply."""

from sibyl_runtime.kpi.collectors import (
    CacheLevelCollector,
    EmbeddingCollector,
    FaissCollector,
    KeepsStats,
    PoolCollector,
    TaskCollector,
)
from sibyl_runtime.kpi.engine import MeteredEngine
from sibyl_runtime.kpi.indicators import Indicators, Reading, sampling
from sibyl_runtime.kpi.instruments import MeteredCache, MeteredLanguageModel, MeteredVectorStore
from sibyl_runtime.kpi.metrics import (
    CLIENT_ERROR,
    ERROR,
    SEMANTIC_CACHE,
    SUCCESS,
    KnownLabels,
    RuntimeMetrics,
)

__all__ = [
    "CLIENT_ERROR",
    "ERROR",
    "SEMANTIC_CACHE",
    "SUCCESS",
    "CacheLevelCollector",
    "EmbeddingCollector",
    "FaissCollector",
    "Indicators",
    "KeepsStats",
    "KnownLabels",
    "MeteredCache",
    "MeteredEngine",
    "MeteredLanguageModel",
    "MeteredVectorStore",
    "PoolCollector",
    "Reading",
    "RuntimeMetrics",
    "TaskCollector",
    "sampling",
]
