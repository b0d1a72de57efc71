"""From a tool call to its outcome: the pipeline's results as the documented output, and answers kept for next time.

An answer is kept under everything that it depends on, the version of the corpus included, so that an ingest makes old
answers unreachable at once. Errors, empty retrievals and answers that were cut short are never kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from sibyl_runtime.cache import Asked, Cache, SemanticCache, SingleFlight
from sibyl_runtime.pipeline.context import Deadline, StageTiming
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.techniques.found import retrieved_chunks
from sibyl_runtime.techniques.generation import sources

OVERTIME = 0.1
"""The pipeline keeps the deadline and names the stage; this ends the wait for somebody else's computation."""
PATIENCE = 5.0
SHARE = 0.25
"""A comparison of questions may take so many seconds, and this share of what is left of the deadline: a model that
hangs must leave time for the answer."""


@dataclass(frozen=True)
class Reuse:
    """Where an answer came from that was not computed for its call.

    `exact`: the same question, spelled the same. `semantic`: `question` was answered, and means the same; its vector
    has the cosine `similarity`.
    """

    kind: Literal["exact", "semantic"]
    similarity: float = 1.0
    question: str | None = None


EXACT = Reuse("exact")


@dataclass(frozen=True)
class ToolOutcome:
    """What a call came to. `output` is {"answer": str | None, "sources": [...]}, with "structured": the object that a
    structured answer holds, None when nothing was found.

    `cache` is `hit` when the answer came without a computation of its own: from the cache, or from an identical call
    that was under way. Then no tokens were used and nothing was spent. `steps` holds, by step, what it tells of how it
    worked, or that it was skipped; nothing for a hit.
    """

    output: Mapping[str, Any]
    tokens_used: int
    cost_usd: float | None
    stages: tuple[StageTiming, ...]
    cache: Literal["hit", "miss", "off"]
    seconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"
    """As the model gave it: `length` when the answer was cut at its limit. One that is kept was never cut."""
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reuse: Reuse | None = None
    """Of a hit alone."""
    reusable: bool = True
    """Whether others may have it: not an answer that was cut short, or for which a step fell back."""


def outcome_of(result: PipelineResult, *, cache: Literal["miss", "off"]) -> ToolOutcome:
    """The last answer and its sources; without an answer, the chunks that were retrieved."""
    found = list(result.results.values())
    generated = next((one for one in reversed(found) if "answer" in one), None)
    if generated is None:
        output = {"answer": None, "sources": sources(retrieved_chunks(result.results) or [])}
    else:
        output = {name: generated[name] for name in ("answer", "sources", "structured") if name in generated}
    tokens, cost = _spent(found, priced=result.priced)
    written = generated or {}
    return ToolOutcome(
        output,
        tokens,
        cost,
        result.stages,
        cache,
        result.seconds,
        prompt_tokens=written.get("prompt_tokens", 0),
        completion_tokens=written.get("completion_tokens", 0),
        finish_reason=written.get("finish_reason", "stop"),
        steps=_told(result),
        reusable=result.reusable,
    )


def _told(result: PipelineResult) -> dict[str, Mapping[str, Any]]:
    """What each step says of itself, in the order of the steps; of a skipped one, that it was."""
    skipped = {timing.step for timing in result.stages if timing.skipped}
    steps = dict.fromkeys([*(timing.step for timing in result.stages), *result.notes])
    told = {step: {**({"skipped": True} if step in skipped else {}), **result.notes.get(step, {})} for step in steps}
    return {step: facts for step, facts in told.items() if facts}


def _spent(results: Sequence[Mapping[str, Any]], *, priced: bool) -> tuple[int, float | None]:
    """Tokens and USD of every step that asked a language model; None when the price of one is not known, or when one
    was asked in vain (not `priced`)."""
    asking = [one for one in results if "cost_usd" in one]
    costs = [one["cost_usd"] for one in asking]
    return sum(one["tokens"] for one in asking), sum(costs, 0.0) if priced and None not in costs else None


class AnswerReuse:
    """Looks an answer up, joins an identical computation under way, or computes and keeps.

    With a `semantic` cache and a call that is `asked` of it, an answer to another question of the same meaning counts
    as found.
    """

    def __init__(self, cache: Cache, semantic: SemanticCache | None = None) -> None:
        self._cache = cache
        self._semantic = semantic
        self._flights: SingleFlight[ToolOutcome] = SingleFlight()

    async def answer(
        self,
        key: str,
        compute: Callable[[], Awaitable[PipelineResult]],
        *,
        deadline: Deadline,
        asked: Asked | None = None,
    ) -> ToolOutcome:
        """The outcome under `key`. Raises what `compute` raises, and DeadlineExceeded."""
        started = time.perf_counter()
        kept = await self._kept(key, asked, deadline)
        if kept is not None:
            return _reused(*kept, time.perf_counter() - started)
        own = False

        async def computed() -> ToolOutcome:
            nonlocal own
            own = True
            return await self._compute_and_keep(key, compute, asked)

        remaining = deadline.remaining()
        scope = asyncio.timeout(None if remaining is None else remaining + OVERTIME)
        try:
            async with scope:
                outcome = await self._flights.run(key, computed)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise deadline.exceeded("waiting for an identical call") from error
        if own:
            return outcome
        if outcome.reusable:
            return _reused(outcome.output, EXACT, time.perf_counter() - started)
        return await self._compute_and_keep(key, compute, asked)

    async def answer_to_a_reader(
        self,
        key: str,
        compute: Callable[[], Awaitable[PipelineResult]],
        *,
        deadline: Deadline,
        asked: Asked | None = None,
    ) -> ToolOutcome:
        """As `answer`, for a computation that goes at the pace of one reader: nobody else ever waits for it.

        An identical computation that is under way is joined all the same.
        """
        if self._flights.under_way(key):
            return await self.answer(key, compute, deadline=deadline, asked=asked)
        started = time.perf_counter()
        kept = await self._kept(key, asked, deadline)
        if kept is not None:
            return _reused(*kept, time.perf_counter() - started)
        return await self._compute_and_keep(key, compute, asked)

    async def holds(self, key: str) -> bool:
        """Whether an answer lies under `key`."""
        return _read(await self._cache.get(key)) is not None

    async def _kept(self, key: str, asked: Asked | None, deadline: Deadline) -> tuple[Mapping[str, Any], Reuse] | None:
        """The answer that is kept, for this question or else for one that means the same."""
        output = _read(await self._cache.get(key))
        if output is not None:
            return output, EXACT
        if self._semantic is None or asked is None:
            return None
        remaining = deadline.remaining()
        patience = PATIENCE if remaining is None else min(PATIENCE, SHARE * remaining)
        for similar in await self._semantic.similar(asked, timeout=patience):
            output = _read(await self._cache.get(similar.key))
            if output is not None:
                self._semantic.used(asked, similar)
                return output, Reuse("semantic", similar.similarity, similar.question)
            self._semantic.forget(asked, similar)
        return None

    async def _compute_and_keep(
        self, key: str, compute: Callable[[], Awaitable[PipelineResult]], asked: Asked | None
    ) -> ToolOutcome:
        result = await compute()
        outcome = outcome_of(result, cache="miss")
        if outcome.output["sources"] and outcome.reusable:
            await self._cache.set(key, orjson.dumps(outcome.output))
            if self._semantic is not None and asked is not None:
                await self._semantic.answered(asked)
        return outcome


def _reused(output: Mapping[str, Any], reuse: Reuse, seconds: float) -> ToolOutcome:
    return ToolOutcome(output, 0, 0.0, (), "hit", seconds, reuse=reuse)


def _read(value: bytes | None) -> Mapping[str, Any] | None:
    """The output that was kept; None for anything else that may lie under the key."""
    if value is None:
        return None
    try:
        output = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return output if isinstance(output, dict) and output.keys() - {"structured"} == {"answer", "sources"} else None
