"""`infrastructure.cache_warming`: asks questions as callers would, so that their answers are kept when callers come.

The questions begin at another one each time: pods that warm a shared cache together so share the work.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sibyl_runtime.errors import CacheUnreachable, SibylError
from sibyl_runtime.pipeline.asking import Answered
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.workspace import CACHE_WARMING, CacheWarmingConfig, NoToolToWarm, warmed_tool

logger = logging.getLogger("sibyl.warming")

FAILURES_TOLD: Final = 10
MOST_LOST: Final = 3
"""Answers in a row that were not kept, after which no more are paid for."""


@dataclass(frozen=True)
class _Failed:
    query: str
    error: SibylError


class CacheWarming:
    """One stage is timed: `warm`. A question that fails is told, and does not end the others."""

    id = CACHE_WARMING
    stage = "warm"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: CacheWarmingConfig) -> Mapping[str, Any]:
        """Counts of the `queries`: `found` were kept already, `computed` are now, of `empty` ones nothing is, since
        nothing was found for them, `unkept` ones have answers that are for one caller alone, and `failed` ones are told
        in `failures`, the first FAILURES_TOLD of them. An answer that could not be kept is a failure.
        """
        with context.timed("warm"):
            outcomes = await _Asking(context, config).all()
        failed = [outcome for outcome in outcomes if isinstance(outcome, _Failed)]
        answered = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
        counts = Counter(one.outcome for one in answered)
        costs = [one.cost_usd for one in answered]
        return {
            "queries": len(outcomes),
            "computed": counts["computed"],
            "found": counts["found"],
            "empty": counts["empty"],
            "unkept": counts["unkept"],
            "failed": len(failed),
            "failures": [
                {"query": one.query, "code": one.error.code, "message": one.error.message}
                for one in failed[:FAILURES_TOLD]
            ],
            "tokens": sum(one.tokens for one in answered),
            "cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
        }


class _Asking:
    """The questions of one run."""

    def __init__(self, context: StepContext, config: CacheWarmingConfig) -> None:
        if context.ask is None:
            raise context.failed("asks questions, and nothing answers calls here")
        self._context, self._config, self._ask = context, config, context.ask
        self._tool = _tool(context, config)
        self._places = asyncio.Semaphore(config.max_concurrent)
        self._lost = 0

    async def all(self) -> Sequence[Answered | _Failed]:
        queries = self._config.queries
        first = random.randrange(len(queries))
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._one(query)) for query in (*queries[first:], *queries[:first])]
        return [task.result() for task in asked]

    async def _one(self, query: str) -> Answered | _Failed:
        async with self._places:
            if self._lost >= MOST_LOST:
                return _Failed(query, CacheUnreachable("not asked: the answers before it could not be kept"))
            try:
                answered = await self._ask(self._tool, self._config.asking(query), self._context.deadline)
            except SibylError as error:
                return _Failed(query, error)
            except Exception as error:
                logger.exception("a question could not be asked ahead")
                return _Failed(query, self._context.failed(f"failed: {type(error).__name__}; the log has the cause"))
        if answered.outcome != "lost":
            self._lost = 0
            return answered
        self._lost += 1
        return _Failed(query, CacheUnreachable("its answer could not be kept; /health tells how the caches are"))


def _tool(context: StepContext, config: CacheWarmingConfig) -> str:
    try:
        return warmed_tool(context.services.workspace, config).name
    except NoToolToWarm as error:  # settings that a parameter holds are not known before the run
        raise context.failed(f"cannot ask: config.tool: {error}") from error
