"""Answers kept for questions that were asked before: in memory, in Redis, or memory in front of Redis."""

from sibyl_runtime.cache.key import AnswerIdentity, answer_key, normalise_query
from sibyl_runtime.cache.levels import open_cache
from sibyl_runtime.cache.protocol import AnswerCache, LevelStats
from sibyl_runtime.cache.single_flight import SingleFlight

__all__ = [
    "AnswerCache",
    "AnswerIdentity",
    "LevelStats",
    "SingleFlight",
    "answer_key",
    "normalise_query",
    "open_cache",
]
