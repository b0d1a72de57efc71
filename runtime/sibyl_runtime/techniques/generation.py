"""`ai_generation.generation`: an answer to the question from the chunks that were retrieved, with its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.llm.fallback import first_answer
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.providers.protocols import GenerationRequest, Passage
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.prompts import numbered, rendered
from sibyl_runtime.techniques.retrieval import question
from sibyl_runtime.techniques.routing import route
from sibyl_runtime.workspace import GenerationConfig

NOTHING_FOUND = "Nothing in the documents answers this question."


CUT_SHORT = frozenset({"length", "content_filter"})


class Generation:
    """Reads the parameter `query` and the chunks of the nearest earlier step that has some."""

    id = "ai_generation.generation"
    stage = "generate"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: GenerationConfig) -> Mapping[str, Any]:
        """`cost_usd` is a float, None when the price is not known.

        Without chunks no model is asked: the answer says that nothing was found, at no cost.
        """
        query = question(context.parameters)
        hits = _retrieved(context)
        models = route(context, config, query)
        if not hits:
            return {
                "answer": NOTHING_FOUND, "sources": [], "tokens": 0, "model": None, "cost_usd": 0.0,
                "provider": None, "attempts": 0, "failed": [],
            }  # fmt: skip
        passages = [Passage(_place(hit), hit.content, hit.score) for hit in hits]
        with context.timed("generate"):
            routed = await first_answer(models, _request(context, config, query, passages))
        answer = routed.answer
        if answer.finish_reason in CUT_SHORT:
            context.single_use.append(f"the answer ended early: {answer.finish_reason}")
        if routed.failed:
            context.single_use.append(f"provider {routed.provider} stood in for {routed.failed[0].provider}")
        return {
            "answer": answer.text,
            "sources": sources(hits, answer.cited),
            "tokens": answer.prompt_tokens + answer.completion_tokens,
            "model": answer.model,
            "cost_usd": _cost(answer),
            "provider": routed.provider,
            "attempts": answer.attempts,
            "failed": [{"provider": one.provider, "code": one.code} for one in routed.failed],
        }


def sources(hits: Sequence[Hit], cited: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Every chunk retrieved, best first; `cited` marks those that the answer rests on."""
    return [
        {
            "title": hit.title or hit.document_id,
            "content": hit.content,
            "score": hit.score,
            "document": hit.document_id,
            "heading": hit.heading,
            "metadata": dict(hit.metadata),
            "cited": position in cited,
        }
        for position, hit in enumerate(hits)
    ]


def retrieved_chunks(results: Mapping[str, Mapping[str, Any]]) -> list[Hit] | None:
    """The chunks of the last step that retrieved; None when no step did."""
    for result in reversed(list(results.values())):
        chunks = result.get("chunks")
        if isinstance(chunks, list):
            return chunks
    return None


def _retrieved(context: StepContext) -> list[Hit]:
    hits = retrieved_chunks(context.results)
    if hits is None:
        raise context.failed("has no chunks to answer from; put a `rag.retrieval` step that runs before it")
    return hits


def _place(hit: Hit) -> str:
    """Where a chunk stands, as the model is told: the document's title and the headings above the chunk."""
    title = hit.title or hit.document_id
    if not hit.heading:
        return title
    return hit.heading if hit.heading.startswith(title) else f"{title} > {hit.heading}"


def _request(
    context: StepContext, config: GenerationConfig, query: str, passages: Sequence[Passage]
) -> GenerationRequest:
    prompt = rendered(config.prompt, query=query, context=numbered(passages))
    if config.system_prompt:
        prompt = f"{config.system_prompt}\n\n{prompt}"
    return GenerationRequest(
        question=query,
        passages=passages,
        prompt=prompt,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        stop_sequences=tuple(config.stop_sequences),
        timeout=context.deadline.remaining(),
    )


def _cost(answer: Answer) -> float | None:
    return None if answer.cost_usd is None else float(answer.cost_usd)
