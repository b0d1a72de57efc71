"""What earlier steps of a run found: the chunks that later ones put in order, make a context of and answer from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.retrieval import scores

NOT_SEARCHED: Final[Mapping[str, Any]] = MappingProxyType({"chunks": None, "count": 0, **scores([])})
"""What a step passes on that works on chunks when nothing was searched: later steps must not take it for nothing
found."""


def retrieved_chunks(results: Mapping[str, Mapping[str, Any]]) -> list[Hit] | None:
    """The chunks of the last step that retrieved; None when no step did: retrieval failed, or was skipped."""
    for result in reversed(list(results.values())):
        chunks = result.get("chunks")
        if isinstance(chunks, list):
            return chunks
    return None


def assembled_context(results: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The context that was made of the chunks of `retrieved_chunks`; None when no step made one of just these."""
    for result in reversed(list(results.values())):
        if isinstance(result.get("chunks"), list):
            context: str | None = result.get("context")
            return context
    return None
