"""`rag.reranking`: the chunks that retrieval found, judged again with more care, in a better order, and fewer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.pipeline.timing import StageTiming
from sibyl_runtime.providers.protocols import GenerationRequest, Passage
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.generation import retrieved_chunks
from sibyl_runtime.techniques.ordering.asked import positions, prompt
from sibyl_runtime.techniques.ordering.orders import by_score, diverse, fused
from sibyl_runtime.techniques.ordering.words import bm25, likeness
from sibyl_runtime.techniques.retrieval import question
from sibyl_runtime.workspace import RerankingConfig

STAGE = "rerank"


@dataclass(frozen=True)
class _Order:
    """Positions in the candidates, best first. `scores` has one per candidate, None where only the order is known."""

    positions: Sequence[int]
    scores: Sequence[float] | None = None
    model: str | None = None
    shortened: int = 0
    fallback: str | None = None
    tokens: int = 0
    cost_usd: float | None = 0.0


class Reranking:
    """Reads the parameter `query` and the chunks of the nearest earlier step that has some."""

    id = "rag.reranking"
    stage = STAGE
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: RerankingConfig) -> Mapping[str, Any]:
        """`chunks` is a list of Hits, best first, `top_k` at most.

        `avg_score` and `top_score` are on the scale of the subtechnique; `llm` and `diversity` give only an order, so
        theirs are the similarity of the chunks kept. Both are None without chunks, and no model is asked then.
        `fallback` says why the order is the one found; None when it is a new one.
        """
        query = question(context.parameters)
        hits = retrieved_chunks(context.results)
        if hits is None:
            raise context.failed("has no chunks to put in order; put a `rag.retrieval` step that runs before it")
        with context.timed(STAGE):
            order = await _ordered(context, config, query, hits) if hits else _Order([])
        if order.fallback is not None:
            context.single_use.append(f"the chunks were not reranked: {order.fallback}")
        kept = _kept(hits, order)[: config.top_k]
        return {
            "chunks": kept,
            "count": len(kept),
            **_scores(kept),
            "subtechnique": config.subtechnique,
            "model": order.model,
            "candidates": len(hits),
            "shortened": order.shortened,
            "fallback": order.fallback,
            "tokens": order.tokens,
            "cost_usd": order.cost_usd,
        }


def reranking_told(
    results: Mapping[str, Mapping[str, Any]], stages: Sequence[StageTiming]
) -> tuple[dict[str, Any], ...]:
    """What each reranking step of a run did, in their order, for the metadata of the answer; skipped ones too."""
    told = []
    for step in dict.fromkeys(timing.step for timing in stages if timing.stage == STAGE):
        result = results.get(step)
        if result is None:
            told.append({"step": step, "skipped": True})
            continue
        known = {key: result[key] for key in ("subtechnique", "model", "candidates", "shortened", "fallback")}
        told.append({"step": step, "skipped": False, **known, "kept": result["count"]})
    return tuple(told)


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
    name = config.provider or context.services.default_language_model
    model = context.services.language_models.get(name)
    if model is None:
        known = ", ".join(sorted(context.services.language_models))
        raise context.failed(f'names the language model "{name}"; known: {known}')
    passages = [Passage(hit.title, _below_title(hit), hit.score) for hit in hits]
    keep = min(config.top_k or len(hits), len(hits))
    # No passages in the request: the reply is numbers, in which nothing is cited.
    request = GenerationRequest(query, (), prompt(query, passages, keep), timeout=context.deadline.remaining())
    answer = await model.generate(request)
    order = positions(answer.text, len(hits), keep)
    refused = f"the reply of {answer.model} is not {keep} different numbers from 1 to {len(hits)}"
    return _Order(
        order if order is not None else range(len(hits)),
        model=answer.model,
        fallback=None if order is not None else refused,
        tokens=answer.prompt_tokens + answer.completion_tokens,
        cost_usd=None if answer.cost_usd is None else float(answer.cost_usd),
    )


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


def _scores(kept: Sequence[Hit]) -> dict[str, float | None]:
    if not kept:
        return {"avg_score": None, "top_score": None}
    scores = [hit.score if hit.rerank_score is None else hit.rerank_score for hit in kept]
    return {"avg_score": sum(scores) / len(scores), "top_score": max(scores)}


def _text(hit: Hit) -> str:
    """A chunk as it is judged: under its title and the headings above it, which often say what it is about."""
    return f"{hit.title}\n{_below_title(hit)}" if hit.title else _below_title(hit)


def _below_title(hit: Hit) -> str:
    heading = "" if hit.heading == hit.title else hit.heading.removeprefix(f"{hit.title} > ")
    return f"{heading}\n{hit.content}" if heading else hit.content
