"""`ai_generation.generation`: an answer to the question from the chunks that were retrieved, with its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.pipeline.listening import AnswerText, SourcesFound
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.providers.protocols import GenerationRequest, LanguageModel, Passage
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.pieces import Pieces
from sibyl_runtime.techniques.prompts import numbered, passages_of, rendered
from sibyl_runtime.techniques.providers import language_model
from sibyl_runtime.techniques.retrieval import question
from sibyl_runtime.techniques.structured import CUT_SHORT, structured_answer
from sibyl_runtime.workspace import GenerationConfig

NOTHING_FOUND = "Nothing in the documents answers this question."


class Generation:
    """Reads the parameter `query` and the chunks of the nearest earlier step that has some."""

    id = "ai_generation.generation"
    stage = "generate"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: GenerationConfig) -> Mapping[str, Any]:
        """`cost_usd` is a float, None when the price is not known.

        Without chunks no model is asked: the answer says that nothing was found, at no cost. A structured answer is
        also there as an object, `structured`: None when nothing was found.
        """
        query = question(context.parameters)
        hits = _retrieved(context)
        model = language_model(context, config.provider)
        if not hits:
            return {**_NOTHING, **({"structured": None} if config.answer_schema else {})}
        passages = passages_of(hits)
        request = _request(context, config, query, passages)
        await context.tell(SourcesFound([_without_citation(source) for source in sources(hits)]))
        extra: dict[str, Any] = {}
        if config.answer_schema is not None:
            answer, extra["structured"] = await structured_answer(context, model, request, config.answer_schema)
        elif config.subtechnique == "streaming" and context.listener is not None:
            answer = await _streamed(context, model, request, config.chunk_size)
        else:
            with context.timed("generate"):
                answer = await model.generate(request)
        if answer.finish_reason in CUT_SHORT:
            context.single_use.append(f"the answer ended early: {answer.finish_reason}")
        return {
            "answer": answer.text,
            "sources": sources(hits, answer.cited),
            "tokens": answer.prompt_tokens + answer.completion_tokens,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "model": answer.model,
            "cost_usd": _cost(answer),
            "finish_reason": answer.finish_reason,
            **extra,
        }


_NOTHING: Mapping[str, Any] = {
    "answer": NOTHING_FOUND,
    "sources": [],
    "tokens": 0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "model": None,
    "cost_usd": 0.0,
    "finish_reason": "stop",
}


async def _streamed(context: StepContext, model: LanguageModel, request: GenerationRequest, size: int) -> Answer:
    """The answer, told piece by piece as the model writes it. Only the waits for the model are timed."""
    pieces = Pieces(size)
    async with aclosing(model.stream(request)) as parts:
        while True:
            with context.timed("generate"):
                part = await anext(parts)
            if isinstance(part, Answer):
                break
            for text in pieces.add(part):
                await context.tell(AnswerText(text))
    if rest := pieces.rest():
        await context.tell(AnswerText(rest))
    return part


def _without_citation(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source as it is known before the answer: what will be cited is not."""
    return {name: value for name, value in source.items() if name != "cited"}


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
            **({} if hit.rerank_score is None else {"rerank_score": hit.rerank_score}),
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


def assembled_context(results: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The context that was made of the chunks of `retrieved_chunks`; None when no step made one of just these."""
    for result in reversed(list(results.values())):
        if isinstance(result.get("chunks"), list):
            context: str | None = result.get("context")
            return context
    return None


def _retrieved(context: StepContext) -> list[Hit]:
    hits = retrieved_chunks(context.results)
    if hits is None:
        raise context.failed("has no chunks to answer from; put a `rag.retrieval` step that runs before it")
    return hits


def _request(
    context: StepContext, config: GenerationConfig, query: str, passages: Sequence[Passage]
) -> GenerationRequest:
    assembled = assembled_context(context.results)
    prompt = rendered(config.prompt, query=query, context=numbered(passages) if assembled is None else assembled)
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
