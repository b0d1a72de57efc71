"""The techniques of this version, one file each. The registry is the only place that knows all of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sibyl_runtime.techniques.augmentation import Augmentation
from sibyl_runtime.techniques.cache_warming import CacheWarming
from sibyl_runtime.techniques.chunking import Chunking
from sibyl_runtime.techniques.embedding import Embedding
from sibyl_runtime.techniques.generation import Generation
from sibyl_runtime.techniques.load_documents import LoadDocuments
from sibyl_runtime.techniques.query_classifier import QueryClassifier
from sibyl_runtime.techniques.query_processing import QueryProcessing
from sibyl_runtime.techniques.reranking import Reranking
from sibyl_runtime.techniques.retrieval import Retrieval
from sibyl_runtime.techniques.store_vectors import StoreVectors
from sibyl_runtime.techniques.technique import Technique

__all__ = ["REGISTRY", "Technique"]

_ALL: tuple[Technique, ...] = (
    LoadDocuments(),
    Chunking(),
    Embedding(),
    StoreVectors(),
    Retrieval(),
    Generation(),
    Reranking(),
    QueryProcessing(),
    Augmentation(),
    QueryClassifier(),
    CacheWarming(),
)

REGISTRY: Mapping[str, Technique] = MappingProxyType({technique.id: technique for technique in _ALL})
