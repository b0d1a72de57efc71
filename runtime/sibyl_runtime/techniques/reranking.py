"""`rag.reranking`: the chunks that retrieval found, judged again with more care, in a better order, and fewer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sibyl_runtime.errors import ProviderError
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import GenerationRequest, Passage
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.found import NOT_SEARCHED, retrieved_chunks
from sibyl_runtime.techniques.ordering.asked import positions, prompt
from sibyl_runtime.techniques.ordering.orders import by_score, diverse, fused
from sibyl_runtime.techniques.ordering.words import bm25, likeness
from sibyl_runtime.techniques.providers import language_model
from sibyl_runtime.techniques.retrieval import question, scores
from sibyl_runtime.techniques.spending import asking, nothing_spent, spent
from sibyl_runtime.workspace import RerankingConfig

STAGE = "rerank"


@dataclass(frozen=True)
class _Order:
    """Positions in the candidates, best first. `scores` has one per candidate, None where only the order is known."""

    positions: Sequence[int]
    scores: Sequence[float] | None = None
    model: str | None = None
    shortened: int = 0
    fallback: bool = False
    cost: Mapping[str, Any] | None = None


class Reranking:
    """Reads the parameter `query` and the chunks of the nearest earlier step that has some."""

    id = "rag.reranking"
    stage = STAGE
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: RerankingConfig) -> Mapping[str, Any]:
        """`chunks` is a list of Hits, best first, `top_k` at most.

        `avg_score` and `top_score` are on the scale of the subtechnique; `llm` and `diversity` give only an order, so
        theirs are the similarity of the chunks kept. Both are 0 without chunks, and no model is asked then. `fallback`:
        the order is the one found. `chunks` is None where nothing was searched: retrieval failed, or was skipped.
        """
        query = question(context.parameters)
        hits = retrieved_chunks(context.results)
        with context.timed(STAGE):
            order = await _ordered(context, config, query, hits) if hits else _Order([])
        kept = _kept(hits or (), order)[: config.top_k]
        told = {
            "subtechnique": config.subtechnique,
            "candidates": len(hits or ()),
            "shortened": order.shortened,
            **(order.cost or {**nothing_spent(context), "model": order.model}),
        }
        context.note(**told, kept=len(kept))
        found = NOT_SEARCHED if hits is None else {"chunks": kept, "count": len(kept), **scores(kept)}
        return {**found, **told, "fallback": order.fallback}


async def _ordered(context: StepContext, config: RerankingConfig, query: str, hits: Sequence[Hit]) -> _Order:
    match config.subtechnique:
        case "cross_encoder":
            return await _compared(context, config.model, query, hits)
        case "llm":
            return await _asked(context, config, query, hits)
        case "diversity":
            return await asyncio.to_thread(_diverse, config, hits)
        case _:
            return await asyncio.to_thread(_by_words, config.subtechnique, query, hits)


async def _compared(context: StepContext, model: str, query: str, hits: Sequence[Hit]) -> _Order:
    encoder = context.services.cross_encoders.get(model)
    if encoder is None:
        known = ", ".join(sorted(context.services.cross_encoders)) or "none"
        raise context.failed(f'names the reranking model "{model}", which is not open; open are: {known}')
    relevance = await encoder.compare(query, [_text(hit) for hit in hits])
    return _Order(by_score(relevance.scores), relevance.scores, encoder.tag, relevance.shortened)


async def _asked(context: StepContext, config: RerankingConfig, query: str, hits: Sequence[Hit]) -> _Order:
    """The model's order; the order found when it does not give one."""
    model = language_model(context, config.provider)
    passages = [Passage(hit.title, _below_title(hit), hit.score) for hit in hits]
    keep = min(config.top_k or len(hits), len(hits))
    # No passages in the request: the reply is numbers, in which nothing is cited.
    request = GenerationRequest(query, (), prompt(query, passages, keep), timeout=context.deadline.remaining())
    with asking(context, model.name):
        answer = await model.generate(request)
    order = positions(answer.text, len(hits), keep)
    if order is None:
        refused = f"the reply of {answer.model} is not {keep} different numbers from 1 to {len(hits)}"
        context.fell_back(ProviderError(refused), wanted=model.name, used="order found")
    return _Order(order if order is not None else range(len(hits)), fallback=order is None, cost=spent(context, answer))


def _by_words(subtechnique: str, query: str, hits: Sequence[Hit]) -> _Order:
    scores = bm25(query, [_text(hit) for hit in hits])
    if subtechnique == "fusion":
        scores = fused(scores)
    return _Order(by_score(scores), scores)


def _diverse(config: RerankingConfig, hits: Sequence[Hit]) -> _Order:
    alike = likeness([hit.content for hit in hits])
    return _Order(diverse([hit.score for hit in hits], alike, config.mmr_lambda, config.top_k or len(hits)))


def _kept(hits: Sequence[Hit], order: _Order) -> list[Hit]:
    if order.scores is None:
        return [replace(hits[position], rerank_score=None) for position in order.positions]
    return [replace(hits[position], rerank_score=order.scores[position]) for position in order.positions]


def _text(hit: Hit) -> str:
    """A chunk as it is judged: under its title and the headings above it, which often say what it is about."""
    return f"{hit.title}\n{_below_title(hit)}" if hit.title else _below_title(hit)


def _below_title(hit: Hit) -> str:
    heading = "" if hit.heading == hit.title else hit.heading.removeprefix(f"{hit.title} > ")
    return f"{heading}\n{hit.content}" if heading else hit.content
