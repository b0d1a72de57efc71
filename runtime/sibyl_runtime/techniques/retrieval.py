"""`rag.retrieval`: the chunks that speak of what the question asks, found by meaning, by words, or by both.

Where a step before it has made queries of the question, each of them is searched for, and the orders are fused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.pipeline.context import Services, StepContext
from sibyl_runtime.providers.protocols import Embedder, Vectors
from sibyl_runtime.store.filters import refused
from sibyl_runtime.store.records import NEAREST, Hit, Ranking
from sibyl_runtime.techniques.fusing import fused
from sibyl_runtime.techniques.providers import require_default
from sibyl_runtime.techniques.selection import before_the_gap, diverse, within_budget
from sibyl_runtime.workspace import RetrievalConfig
from sibyl_runtime.workspace.filters import Condition, FilterInvalid, conditions

_CANDIDATES_PER_CHUNK = 4
_LEAST_CANDIDATES, _MOST_CANDIDATES = 20, 1_000


class Retrieval:
    """Reads the parameters `query` and `filters`. Two stages are timed: `embed` (the question) and `retrieve`."""

    id = "rag.retrieval"
    stage = "retrieve"
    merges = frozenset({"filters"})

    async def run(self, context: StepContext, config: RetrievalConfig) -> Mapping[str, Any]:
        """`chunks` is a list of Hits, best first; the scores are 0 when there are none."""
        require_default(context, "vector store", config.provider, context.services.workspace.default_vector_store[0])
        query = question(context.parameters)
        filters = merged(config.filters, context.parameters.get("filters"))
        searches = _searches(context.results, query)
        hits = [] if filters is None else await _found(context, config, searches, filters)
        context.note(subtechnique=config.subtechnique, searches=len(searches), chunks=len(hits))
        return {"chunks": hits, "count": len(hits), **scores(hits)}


@dataclass(frozen=True)
class _Search:
    """A text to search for. A `passage` reads like a document, and its vector is made as that of one."""

    text: str
    passage: bool = False


def _searches(results: Mapping[str, Mapping[str, Any]], query: str) -> list[_Search]:
    """What the last step that made queries says; the question when none did."""
    for result in reversed(list(results.values())):
        if "queries" in result:
            asking = [_Search(text) for text in result["queries"]]
            return [*asking, *(_Search(text, passage=True) for text in result["passages"])]
    return [_Search(query)]


async def _found(
    context: StepContext, config: RetrievalConfig, searches: Sequence[_Search], filters: tuple[Condition, ...]
) -> list[Hit]:
    """What was found before for the same searches; else what is found now, which is kept for the next."""
    kept = context.services.kept.chunks
    if kept is None:
        return await _search(context, config, searches, filters)
    with context.timed("retrieve"):
        key = await kept.key(
            {
                "searches": [asdict(search) for search in searches],
                "settings": config.model_dump(mode="json", exclude={"filters"}),
                "filters": [[one.field, one.operator, one.value] for one in filters],
            }
        )
        before = None if key is None else await kept.get(key)
    context.note(retrieval_cache="miss" if before is None else "hit")
    if before is not None:
        return before
    hits = await _search(context, config, searches, filters)
    if key is not None:
        await kept.set(key, hits)
    return hits


async def _search(
    context: StepContext, config: RetrievalConfig, searches: Sequence[_Search], filters: tuple[Condition, ...]
) -> list[Hit]:
    """One search after the other: a request never holds more than one connection of the pool."""
    found: list[list[Hit]] = []
    vectors: list[Vectors] = []
    reused: list[bool] = []
    for search in searches:
        with context.timed("embed"):
            vectors.append(await _vector(context.services, search, reused))
        with context.timed("retrieve"):
            found.append(
                await context.services.store.search(
                    vectors[-1],
                    top_k=candidates(config, several=len(searches) > 1),
                    ranking=_ranking(config, search.text),
                    threshold=config.similarity_threshold,
                    filters=filters or None,
                    timeout=context.deadline.remaining(),
                )
            )
    if reused:
        context.note(embedding_cache="hit" if all(reused) else "miss")
    with context.timed("retrieve"):
        return selected(fused(found) if len(found) > 1 else found[0], config, vectors[0])


async def _vector(services: Services, search: _Search, reused: list[bool]) -> Vectors:
    """Shape (dimension,): the one that was kept of the same text, or a new one; `reused` is told where any is kept."""
    kept = services.kept.vectors
    if kept is None:
        return await _embedded(services.embedder, search)
    vector = await kept.get(search.text, passage=search.passage)
    reused.append(vector is not None)
    if vector is None:
        vector = await _embedded(services.embedder, search)
        await kept.set(search.text, vector, passage=search.passage)
    return vector


async def _embedded(embedder: Embedder, search: _Search) -> Vectors:
    if not search.passage:
        return await embedder.embed_query(search.text)
    vector: Vectors = (await embedder.embed_documents([search.text]))[0]
    return vector


def _ranking(config: RetrievalConfig, query: str) -> Ranking:
    match config.subtechnique:
        case "hybrid" | "keyword":
            return Ranking(config.subtechnique, query)
        case "mmr":
            return Ranking(embeddings=True)
        case _:
            return NEAREST


def candidates(config: RetrievalConfig, *, several: bool = False) -> int:
    """Chunks to find, so that `top_k` of them can be chosen; `several`: from the lists of several searches."""
    if config.subtechnique != "mmr":
        return max(config.top_k, _LEAST_CANDIDATES) if several else config.top_k
    if config.mmr_candidates is not None:
        return config.mmr_candidates
    return min(max(_CANDIDATES_PER_CHUNK * config.top_k, _LEAST_CANDIDATES), _MOST_CANDIDATES)


def selected(hits: list[Hit], config: RetrievalConfig, vector: Vectors) -> list[Hit]:
    """What is passed on of the chunks found, best first. `vector` is the question's, shape (dimension,)."""
    if config.subtechnique == "mmr":
        hits = diverse(hits, vector, config.top_k, config.mmr_lambda)
    hits = hits[: config.top_k]
    if config.adaptive_k:
        hits = before_the_gap(hits, config.min_k)
    if config.max_context_tokens is not None:
        hits = within_budget(hits, config.max_context_tokens)
    return hits


def scores(hits: Sequence[Hit]) -> dict[str, float]:
    """What conditions may ask about chunks: the mean and the highest of their scores, reranking's where it gave some.

    Of nothing found 0: a condition that asks whether retrieval was poor has its answer.
    """
    if not hits:
        return {"avg_score": 0.0, "top_score": 0.0}
    each = [hit.score if hit.rerank_score is None else hit.rerank_score for hit in hits]
    return {"avg_score": sum(each) / len(each), "top_score": max(each)}


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


def merged(configured: Mapping[str, Any], given: object) -> tuple[Condition, ...] | None:
    """Both sets of conditions; None when they contradict each other, so that nothing can match.

    A caller can narrow what the workspace allows, and never widen it: all conditions of both must hold. Raises
    InvalidParameters for a filter that cannot be applied.
    """
    own = tuple(replace(condition, own=True) for condition in conditions(configured))
    if given is None:
        return own
    if not isinstance(given, Mapping):
        raise InvalidParameters("`filters` must be an object of names and values", details={"field": "filters"})
    try:
        both = (*own, *conditions(given))
    except FilterInvalid as error:
        raise refused(error) from error
    return None if _contradict(both) else _distinct(both)


def _contradict(asked: Sequence[Condition]) -> bool:
    """Whether a field must equal two values. Other contradictions are found by searching."""
    equal: dict[str, Any] = {}
    return any(
        not _same(equal.setdefault(condition.field, condition.value), condition.value)
        for condition in asked
        if condition.operator == "eq"
    )


def _distinct(asked: Sequence[Condition]) -> tuple[Condition, ...]:
    """Each condition once. By JSON's idea of equality, in which true is not 1."""
    return tuple({(one.field, one.operator, repr(one.value)): one for one in reversed(asked)}.values())[::-1]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
