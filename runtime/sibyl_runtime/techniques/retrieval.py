"""`rag.retrieval`: the chunks nearest to the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.providers import require_default
from sibyl_runtime.workspace import RetrievalConfig

Filters = dict[str, Any]


class Retrieval:
    """Reads the parameters `query` and `filters`. Two stages are timed: `embed` (the question) and `retrieve`."""

    id = "rag.retrieval"
    stage = "retrieve"
    merges = frozenset({"filters"})

    async def run(self, context: StepContext, config: RetrievalConfig) -> Mapping[str, Any]:
        """`chunks` is a list of Hits, best first; the scores are None when there are none."""
        require_default(context, "vector store", config.provider, context.services.workspace.default_vector_store[0])
        query = question(context.parameters)
        filters = merged(config.filters, context.parameters.get("filters"))
        hits = [] if filters is None else await _search(context, config, query, filters)
        return {"chunks": hits, "count": len(hits), **_scores(hits)}


async def _search(context: StepContext, config: RetrievalConfig, query: str, filters: Filters) -> list[Hit]:
    with context.timed("embed"):
        vector = await context.services.embedder.embed_query(query)
    with context.timed("retrieve"):
        return await context.services.store.search(
            vector,
            top_k=config.top_k,
            threshold=config.similarity_threshold,
            filters=filters or None,
            timeout=context.deadline.remaining(),
        )


def _scores(hits: Sequence[Hit]) -> dict[str, float | None]:
    if not hits:
        return {"avg_score": None, "top_score": None}
    scores = [hit.score for hit in hits]
    return {"avg_score": sum(scores) / len(scores), "top_score": max(scores)}


def question(parameters: Mapping[str, Any]) -> str:
    """The parameter `query`. Raises InvalidParameters unless it is text with something in it."""
    query = parameters.get("query")
    if not isinstance(query, str) or not query.strip():
        found = "nothing" if query is None else "an empty text" if isinstance(query, str) else "something else"
        raise InvalidParameters(f"`query` must be text that asks something, found {found}", details={"field": "query"})
    if "\0" in query or (not query.isascii() and not _encodable(query)):
        raise InvalidParameters("`query` holds a character that is not valid Unicode text", details={"field": "query"})
    return query


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def merged(configured: Mapping[str, Any], given: object) -> Filters | None:
    """Both sets of conditions; None when they contradict each other, so that nothing can match.

    A caller can narrow what the workspace allows, and never widen it. Raises InvalidParameters for a filter that is
    not a plain value.
    """
    if given is None:
        return dict(configured)
    if not isinstance(given, Mapping):
        raise InvalidParameters("`filters` must be an object of names and values", details={"field": "filters"})
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | bool):
            raise InvalidParameters(
                f"`filters.{name}` must be text, a number, true or false", details={"field": f"filters.{name}"}
            )
        if name in configured and not _same(configured[name], value):
            return None
    return {**configured, **given}


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
