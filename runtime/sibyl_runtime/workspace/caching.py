"""The caches of a workspace: what is kept, and on which levels."""

from __future__ import annotations

from typing import Any, Final, Literal, Self, TypeVar

from pydantic import Field, model_validator

from sibyl_runtime.workspace.base import StrictModel, fail_field
from sibyl_runtime.workspace.text import Text

LEVELS: Final = ("memory", "redis", "disk")
SWITCH_ON: Final = (*LEVELS, "semantic")
"""Keys that say, when they are written, that caching is wanted."""


class MemoryCache(StrictModel):
    """The cache in the memory of each runtime process."""

    enabled: bool = Field(True, description="Use this level.")
    max_size: int = Field(1000, ge=1, le=10_000_000, description="Most entries.")
    ttl: float = Field(300.0, gt=0, description="Life of an entry, in seconds.")


class RedisCache(StrictModel):
    """The cache that all runtime processes share."""

    enabled: bool = Field(True, description="Use this level.")
    url: Text | None = Field(None, description="redis://... or a reference such as ${REDIS_URL}.")
    ttl: float = Field(3600.0, gt=0, description="Life of an entry, in seconds.")


class DiskCache(StrictModel):
    """A cache that survives a restart."""

    enabled: bool = Field(True, description="Use this level.")
    path: Text | None = Field(None, description="Directory; without it, `cache` in the process's data directory.")
    max_size_gb: float = Field(1.0, ge=0.01, le=10_000, description="Largest size, in GB of 10^9 bytes.")
    ttl: float = Field(86_400.0, gt=0, description="Life of an entry, in seconds.")

    @property
    def max_bytes(self) -> int:
        """`max_size_gb` in bytes."""
        return int(self.max_size_gb * 10**9)


class SemanticCache(StrictModel):
    """Answers reused for questions that mean the same."""

    enabled: bool = Field(True, description="Use it.")
    similarity_threshold: float = Field(0.95, ge=0, le=1, description="Least cosine similarity of a hit.")
    embedding_model: Text | None = Field(None, description="Model that compares questions; the workspace's own.")
    max_entries: int = Field(10_000, ge=1, le=1_000_000, description="Most questions that are compared.")
    ttl: float = Field(3600.0, gt=0, description="Life of an entry, in seconds.")


Part = TypeVar("Part", MemoryCache, RedisCache, DiskCache, SemanticCache)


class Caching(StrictModel):
    """`shops.infrastructure.config.caching`: what was worked out is kept: no question costs twice.

    `memory`, `redis` and `disk` are levels. A level is used when it is written (and does not say `enabled: false`) or
    when `backend` names it; with neither, the memory level is used. Caching is on when `enabled` says so or, without
    that key, when a level or `semantic` is written.
    """

    enabled: bool = Field(False, description="Keep answers.")
    backend: Literal["memory", "redis", "disk"] = Field("memory", description="A level to use.")
    ttl: float = Field(3600.0, gt=0, description="Life of an entry, in seconds, where a level does not say.")
    cache_generations: bool = Field(True, description="Keep whole answers.")
    memory: MemoryCache | None = Field(None, description="Level in the process.")
    redis: RedisCache | None = Field(None, description="Level that processes share.")
    disk: DiskCache | None = Field(None, description="Level that survives a restart.")
    cache_embeddings: bool = Field(False, description="Keep vectors of questions.")
    cache_retrievals: bool = Field(False, description="Keep lists of retrieved chunks.")
    semantic: SemanticCache | None = Field(None, description="Reuse answers of questions that mean the same.")

    @model_validator(mode="before")
    @classmethod
    def _a_written_level_switches_on(cls, data: Any) -> Any:
        if isinstance(data, dict) and "enabled" not in data and any(key in data for key in SWITCH_ON):
            return {**data, "enabled": True}
        return data

    @model_validator(mode="after")
    def _backend_is_not_switched_off(self) -> Self:
        level: MemoryCache | RedisCache | DiskCache | None = getattr(self, self.backend)
        if "backend" in self.model_fields_set and level is not None and not level.enabled:
            fail_field("backend", f"names {self.backend}, but {self.backend}.enabled is false; change one of them")
        return self

    @model_validator(mode="after")
    def _semantic_has_answers(self) -> Self:
        if self.semantic is not None and self.semantic.enabled and not self.cache_generations:
            fail_field(
                "semantic",
                "reuses whole answers, and cache_generations is false: none is kept; remove one of them",
            )
        return self

    @property
    def memory_level(self) -> MemoryCache | None:
        """The memory level in effect, its ttl settled; None when it is not used."""
        others = self.redis is not None or self.disk is not None
        chosen = self.backend == "memory" and ("backend" in self.model_fields_set or not others)
        return self._in_effect(self.memory, MemoryCache if chosen else None)

    @property
    def redis_level(self) -> RedisCache | None:
        """The Redis level in effect, its ttl settled; None when it is not used."""
        return self._in_effect(self.redis, RedisCache if self.backend == "redis" else None)

    @property
    def disk_level(self) -> DiskCache | None:
        """The disk level in effect, its ttl settled; None when it is not used."""
        return self._in_effect(self.disk, DiskCache if self.backend == "disk" else None)

    @property
    def keeps_answers(self) -> bool:
        """Whether whole answers are kept."""
        return self.enabled and self.cache_generations

    @property
    def keeps_embeddings(self) -> bool:
        """Whether vectors of questions are kept."""
        return self.enabled and self.cache_embeddings

    @property
    def keeps_retrievals(self) -> bool:
        """Whether lists of retrieved chunks are kept."""
        return self.enabled and self.cache_retrievals

    @property
    def semantic_cache(self) -> SemanticCache | None:
        """How answers are reused for questions that mean the same, its ttl settled; None when they are not."""
        return self._in_effect(self.semantic, None) if self.keeps_answers else None

    def _in_effect(self, written: Part | None, unwritten: type[Part] | None) -> Part | None:
        """The part as it is used, its ttl settled; `unwritten` is what is used of a part that is not written."""
        if not self.enabled:
            return None
        if written is None:
            return None if unwritten is None else unwritten(ttl=self.ttl)
        inherits = "ttl" in self.model_fields_set and "ttl" not in written.model_fields_set
        settled = written.model_copy(update={"ttl": self.ttl}) if inherits else written
        return settled if written.enabled else None
