"""`ai_generation.generation`: an answer to the question from the chunks that were retrieved, with its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.pipeline.listening import AnswerText, SourcesFound
from sibyl_runtime.providers.llm.fallback import Answered, first_answer
from sibyl_runtime.providers.protocols import Generation as Answer
from sibyl_runtime.providers.protocols import GenerationRequest, LanguageModel, Passage
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.found import assembled_context, retrieved_chunks
from sibyl_runtime.techniques.pieces import Pieces
from sibyl_runtime.techniques.prompts import numbered, passages_of, rendered
from sibyl_runtime.techniques.retrieval import question
from sibyl_runtime.techniques.routing import route
from sibyl_runtime.techniques.spending import asking, nothing_spent, spent
from sibyl_runtime.techniques.structured import CUT_SHORT, structured_answer
from sibyl_runtime.workspace import GenerationConfig

NOTHING_FOUND = "Nothing in the documents answers this question."
NO_SEARCH = "The documents could not be searched, so this question is not answered."


class Generation:
    """Reads the parameter `query` and the chunks of the nearest earlier step that has some."""

    id = "ai_generation.generation"
    stage = "generate"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: GenerationConfig) -> Mapping[str, Any]:
        """`cost_usd` is a float, None when the price is not known.

        Without chunks no model is asked: the answer says that nothing was found, or that nothing was searched because
        retrieval failed or was skipped. A structured answer is also there as an object, `structured`: None without
        chunks.
        """
        query = question(context.parameters)
        hits = retrieved_chunks(context.results)
        models = route(context, config, query)
        if not hits:
            return _without_sources(context, config, searched=hits is not None)
        passages = passages_of(hits)
        request = _request(context, config, query, passages)
        await context.tell(SourcesFound([_without_citation(source) for source in sources(hits)]))
        asked = _Asking(context, config)
        routed = await first_answer(models, request, asked.ask, begun=lambda: asked.begun)
        answer = routed.answer
        if answer.finish_reason in CUT_SHORT:
            context.single_use.append(f"the answer ended early: {answer.finish_reason}")
        _stood_in(context, routed)
        told = {"provider": routed.provider, "attempts": answer.attempts, **spent(context, answer)}
        context.note(**told)
        return {
            "answer": answer.text,
            "sources": sources(hits, answer.cited),
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "finish_reason": answer.finish_reason,
            "fallback": bool(routed.failed),
            **told,
            **asked.extra,
        }


def _without_sources(context: StepContext, config: GenerationConfig, *, searched: bool) -> dict[str, Any]:
    """What is answered when there is nothing to answer from: no model is asked."""
    context.note(provider=None, model=None, attempts=0, unanswered="nothing_found" if searched else "not_searched")
    return {
        "answer": NOTHING_FOUND if searched else NO_SEARCH,
        "sources": [],
        **nothing_spent(context),
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "finish_reason": "stop",
        "provider": None,
        "attempts": 0,
        "fallback": False,
        **({"structured": None} if config.answer_schema else {}),
    }


def _stood_in(context: StepContext, routed: Answered) -> None:
    """Tell of each provider that did not answer, and who was asked after it."""
    for position, one in enumerate(routed.failed, start=1):
        following = routed.failed[position].provider if position < len(routed.failed) else routed.provider
        context.fell_back(one, wanted=one.provider, used=following)


class _Asking:
    """Asks one model after another for the answer in the form that the step has. `begun`: part of it has been told."""

    def __init__(self, context: StepContext, config: GenerationConfig) -> None:
        self._context = context
        self._config = config
        self.begun = False
        self.extra: dict[str, Any] = {}

    async def ask(self, model: LanguageModel, request: GenerationRequest) -> Answer:
        """The answer of one model."""
        with asking(self._context, model.name):
            return await self._ask(model, request)

    async def _ask(self, model: LanguageModel, request: GenerationRequest) -> Answer:
        if self._config.answer_schema is not None:
            answer, value = await structured_answer(self._context, model, request, self._config.answer_schema)
            self.extra = {"structured": value}
            return answer
        if self._config.subtechnique == "streaming" and self._context.listener is not None:
            return await self._streamed(model, request)
        with self._context.timed("generate"):
            return await model.generate(request)

    async def _streamed(self, model: LanguageModel, request: GenerationRequest) -> Answer:
        """The answer, told piece by piece as the model writes it. Only the waits for the model are timed."""
        pieces = Pieces(self._config.chunk_size)
        async with aclosing(model.stream(request)) as parts:
            while True:
                with self._context.timed("generate"):
                    part = await anext(parts)
                if isinstance(part, Answer):
                    break
                for text in pieces.add(part):
                    await self._tell(text)
        if rest := pieces.rest():
            await self._tell(rest)
        return part

    async def _tell(self, text: str) -> None:
        self.begun = True
        await self._context.tell(AnswerText(text))


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
