"""What was worked out before, kept: in memory, in Redis, on disk."""

from sibyl_runtime.cache.disk import DiskFile
from sibyl_runtime.cache.key import ANSWERS, AnswerIdentity, answer_key, normalise_query
from sibyl_runtime.cache.levels import cache_of, disk_of, open_disk, open_redis
from sibyl_runtime.cache.protocol import Cache, LevelStats
from sibyl_runtime.cache.redis_server import RedisServer
from sibyl_runtime.cache.semantic import Asked, SemanticCache, semantic_cache
from sibyl_runtime.cache.single_flight import SingleFlight

__all__ = [
    "ANSWERS",
    "AnswerIdentity",
    "Asked",
    "Cache",
    "DiskFile",
    "LevelStats",
    "RedisServer",
    "SemanticCache",
    "SingleFlight",
    "answer_key",
    "cache_of",
    "disk_of",
    "normalise_query",
    "open_disk",
    "open_redis",
    "semantic_cache",
]
