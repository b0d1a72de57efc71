"""`rag.query_processing`: what is searched for, made of the question by a language model.

The question can always be searched for as it is. So a model that fails, answers too late or answers nonsense costs
quality and no answer: the step falls back to the question, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sibyl_runtime.errors import DeadlineExceeded, ProviderError, SibylError
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import Embedder, Generation, GenerationRequest, LanguageModel
from sibyl_runtime.techniques.prompts import rendered
from sibyl_runtime.techniques.providers import language_model
from sibyl_runtime.techniques.query_prompts import PROMPTS
from sibyl_runtime.techniques.query_replies import UnreadableReply, distinct, passage, queries, single_query
from sibyl_runtime.techniques.retrieval import question
from sibyl_runtime.techniques.spending import asking, nothing_spent, spent
from sibyl_runtime.techniques.structured import CUT_SHORT
from sibyl_runtime.workspace import QueryProcessingConfig

MOST_TERMS = 10
"""Terms that expansion adds to the question."""
DEADLINE_SHARE = 0.5
"""Of what is left of the deadline: the search and the answer need the rest."""
OVERTIME = 0.1
"""Seconds for a model to say itself that its time is over; this ends the wait for one that does not."""
MARKERS = 2


@dataclass(frozen=True)
class _Searches:
    """What to search for: texts that ask, and texts that could be the answer."""

    queries: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()


class QueryProcessing:
    """Reads the parameter `query`."""

    id = "rag.query_processing"
    stage = "process_query"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: QueryProcessingConfig) -> Mapping[str, Any]:
        """`queries` are searched for as the question is; `passages` as the documents are, that they read like.

        `cost_usd` is None where it is not known: also after a wait in vain, which the provider may charge for.
        """
        asked = question(context.parameters)
        model = language_model(context, config.provider)
        reply, searches = None, None
        with context.timed("process_query"):
            try:
                with asking(context, model.name):
                    reply = await _reply(context, config, model, asked)
                searches = _read(reply, config, asked)
            except SibylError as error:
                context.fell_back(error, wanted=model.name, used="question")
        cost = nothing_spent(context) if reply is None else spent(context, reply)
        context.note(**cost)
        return _result(context, config, asked, searches) | cost


async def _reply(context: StepContext, config: QueryProcessingConfig, model: LanguageModel, asked: str) -> Generation:
    remaining = context.deadline.remaining()
    seconds = config.timeout if remaining is None else min(config.timeout, remaining * DEADLINE_SHARE)
    template = config.prompt or PROMPTS[config.subtechnique]
    request = GenerationRequest(
        question=asked,
        passages=(),
        prompt=rendered(template, query=asked, count=str(config.wanted)),
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        timeout=seconds,
    )
    scope = asyncio.timeout(seconds + OVERTIME)
    try:
        async with scope:
            return await model.generate(request)
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise DeadlineExceeded(f"the language model wrote no query within {seconds:g} s") from error


def _read(reply: Generation, config: QueryProcessingConfig, asked: str) -> _Searches:
    """Raises ProviderError for a reply that holds no queries."""
    kind = config.subtechnique
    try:
        if reply.finish_reason in CUT_SHORT and not (kind == "hyde" and reply.finish_reason == "length"):
            raise UnreadableReply(f"ended early: {reply.finish_reason}; max_tokens is {config.max_tokens}")
        if kind == "hyde":
            return _Searches(passages=(passage(reply.text),))
        if kind == "expansion":
            terms = distinct(queries(reply.text, MOST_TERMS), but=[asked])
            return _Searches(queries=(" ".join([asked, *terms]),))
        if kind == "rewriting":
            return _Searches(queries=(single_query(reply.text),))
        return _Searches(queries=tuple(queries(reply.text, config.wanted)))
    except UnreadableReply as error:
        raise ProviderError(f"the reply of the language model {error}", details={"model": reply.model}) from error


def _result(
    context: StepContext, config: QueryProcessingConfig, asked: str, searches: _Searches | None
) -> dict[str, Any]:
    """What to search for, within what the embedding model reads, and the same told to the caller."""
    found = _Searches() if searches is None else _short_enough(searches, context.services.embedder)
    first = [asked] if searches is None or config.include_original else []
    asking = [*first, *distinct(found.queries, but=first)]
    context.note(subtechnique=config.subtechnique, queries=asking, passages=list(found.passages))
    return {
        "queries": asking,
        "passages": list(found.passages),
        "count": len(asking) + len(found.passages),
        "fallback": searches is None,
    }


def _short_enough(searches: _Searches, embedder: Embedder) -> _Searches:
    """Texts of a model are cut where the embedding model ends; a question of such length is refused.

    Half of that for a query: it leaves room for a prompt of the embedding model's own.
    """
    return replace(
        searches,
        queries=tuple(first_tokens(text, embedder.max_tokens // 2, embedder) for text in searches.queries),
        passages=tuple(first_tokens(text, embedder.max_tokens - MARKERS, embedder) for text in searches.passages),
    )


def first_tokens(text: str, tokens: int, embedder: Embedder) -> str:
    """As much of the beginning of `text` as holds at most `tokens` tokens of the embedding model."""
    # Again where the end of the cut text makes other tokens than the same letters did within a word.
    while len(found := embedder.tokenize(text)) > tokens:
        text = text[: found[tokens].start].rstrip()
    return text
