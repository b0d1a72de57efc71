"""What was worked out before, kept: in memory, in Redis, on disk."""

from sibyl_runtime.cache.disk import DiskFile
from sibyl_runtime.cache.key import ANSWERS, AnswerIdentity, answer_key, normalise_query
from sibyl_runtime.cache.levels import disk_of, open_cache, open_disk
from sibyl_runtime.cache.protocol import Cache, LevelStats
from sibyl_runtime.cache.semantic import Asked, SemanticCache, open_semantic_cache
from sibyl_runtime.cache.single_flight import SingleFlight

__all__ = [
    "ANSWERS",
    "AnswerIdentity",
    "Asked",
    "Cache",
    "DiskFile",
    "LevelStats",
    "SemanticCache",
    "SingleFlight",
    "answer_key",
    "disk_of",
    "normalise_query",
    "open_cache",
    "open_disk",
    "open_semantic_cache",
]
