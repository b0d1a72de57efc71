"""The `shops` section: settings that all pipelines share, by group of techniques; and the caches."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from sibyl_runtime.workspace.base import StrictModel, choice, fail_field, planned
from sibyl_runtime.workspace.text import Text

SHOP_ALIASES = {
    "rag_pipeline": "rag",
    "data_integration": "data",
    "workflow_orchestration": "workflow",
}


def canonical_shop(name: str) -> str:
    """The canonical id of a shop: `rag-pipeline` and `rag_pipeline` are `rag`."""
    spelling = name.replace("-", "_")
    return SHOP_ALIASES.get(spelling, spelling)


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

    enabled: bool | None = Field(None, description="Use this level.")
    path: str | None = Field(None, description="Directory.")
    max_size_gb: float | None = Field(None, gt=0, description="Largest size, in GB.")
    ttl: float | None = Field(None, gt=0, description="Life of an entry, in seconds.")


class SemanticCache(StrictModel):
    """Answers reused for questions that mean the same."""

    enabled: bool | None = Field(None, description="Use it.")
    similarity_threshold: float | None = Field(None, ge=-1, le=1, description="Least similarity of a hit.")
    embedding_model: str | None = Field(None, description="Model that compares questions.")
    max_entries: int | None = Field(None, ge=1, description="Most entries.")
    ttl: float | None = Field(None, gt=0, description="Life of an entry, in seconds.")


class Caching(StrictModel):
    """`shops.infrastructure.config.caching`: answers are kept, so that the same question costs nothing twice.

    `memory` and `redis` are levels. A level is used when it is written (and does not say `enabled: false`) or when
    `backend` names it; with neither, the memory level is used. Caching is on when `enabled` says so or, without that
    key, when a level is written.
    """

    enabled: bool = Field(False, description="Keep answers.")
    backend: Literal["memory", "redis", "disk"] = choice("memory", "A level to use.", planned_values=("disk",))
    ttl: float = Field(3600.0, gt=0, description="Life of an entry, in seconds, where a level does not say.")
    cache_generations: bool = Field(True, description="Keep whole answers.")
    memory: MemoryCache | None = Field(None, description="Level in the process.")
    redis: RedisCache | None = Field(None, description="Level that processes share.")
    cache_embeddings: bool | None = planned("Keep vectors of questions.")
    cache_retrievals: bool | None = planned("Keep lists of retrieved chunks.")
    semantic: SemanticCache | None = planned("Reuse answers of questions that mean the same.")
    disk: DiskCache | None = planned("Level that survives a restart.")

    @model_validator(mode="before")
    @classmethod
    def _a_written_level_switches_on(cls, data: Any) -> Any:
        if isinstance(data, dict) and "enabled" not in data and ("memory" in data or "redis" in data):
            return {**data, "enabled": True}
        return data

    @model_validator(mode="after")
    def _backend_is_not_switched_off(self) -> Self:
        level = {"memory": self.memory, "redis": self.redis}.get(self.backend)
        if "backend" in self.model_fields_set and level is not None and not level.enabled:
            fail_field("backend", f"names {self.backend}, but {self.backend}.enabled is false; change one of them")
        return self

    @property
    def memory_level(self) -> MemoryCache | None:
        """The memory level in effect, its ttl settled; None when it is not used."""
        if not self.enabled:
            return None
        if self.memory is not None:
            return self.memory.model_copy(update=self._ttl_of(self.memory)) if self.memory.enabled else None
        chosen = self.backend == "memory" and ("backend" in self.model_fields_set or self.redis is None)
        return MemoryCache(ttl=self.ttl) if chosen else None

    @property
    def redis_level(self) -> RedisCache | None:
        """The Redis level in effect, its ttl settled; None when it is not used."""
        if not self.enabled:
            return None
        if self.redis is not None:
            return self.redis.model_copy(update=self._ttl_of(self.redis)) if self.redis.enabled else None
        return RedisCache(ttl=self.ttl) if self.backend == "redis" else None

    def _ttl_of(self, level: StrictModel) -> dict[str, float]:
        inherits = "ttl" in self.model_fields_set and "ttl" not in level.model_fields_set
        return {"ttl": self.ttl} if inherits else {}


class Shop(StrictModel):
    """Settings shared by the techniques of one shop. A step's own `config` wins over both maps."""

    enabled: bool = Field(True, description="False: no pipeline may use this shop.")
    config: dict[str, Any] = Field({}, description="Settings for every technique of the shop that knows them.")
    techniques: dict[str, dict[str, Any]] = Field({}, description="Settings by technique; they win over config.")
