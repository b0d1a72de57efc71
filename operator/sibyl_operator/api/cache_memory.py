"""How much of a Builtin cache's memory holds answers."""

from __future__ import annotations

from typing import Final

from sibyl_operator.api.quantity import amount

DEFAULT_MEMORY: Final = "256Mi"
# Measured: a full cache of 32Mi takes 28 MiB. Below this, what Redis needs for itself no longer fits into a quarter.
LEAST_MEMORY: Final = "32Mi"


def memory_limit(memory: str | None) -> str:
    """The ceiling of the container; `memory` is spec.cache.memory."""
    return memory or DEFAULT_MEMORY


def maximum_memory(memory: str | None) -> int:
    """Redis' own ceiling, in bytes: three quarters of the container's.

    The last quarter is for what Redis does not count: the process itself, fragmentation of the heap, and buffers of its
    clients. Nothing is kept for copy-on-write, because no child ever saves the data.
    """
    return int(amount(memory_limit(memory)) * 3 / 4)
