"""`infrastructure.cache_warming`: asks questions as callers would, so that their answers are kept when callers come.

The questions begin at another one each time: pods that warm a shared cache together so share the work.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sibyl_runtime.errors import SibylError
from sibyl_runtime.pipeline.asking import Answered
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.workspace import CACHE_WARMING, CacheWarmingConfig, NoToolToWarm, warmed_tool

FAILURES_TOLD: Final = 10


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
        nothing was found for them, and `failed` ones are told in `failures`, the first FAILURES_TOLD of them.

        Raises the first failure when every question failed.
        """
        with context.timed("warm"):
            outcomes = await _asked(context, config)
        failed = [outcome for outcome in outcomes if isinstance(outcome, _Failed)]
        if len(failed) == len(outcomes):
            raise failed[0].error
        answered = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
        costs = [one.cost_usd for one in answered]
        return {
            "queries": len(outcomes),
            "computed": sum(not (one.found or one.empty) for one in answered),
            "found": sum(one.found for one in answered),
            "empty": sum(one.empty for one in answered),
            "failed": len(failed),
            "failures": [
                {"query": one.query, "code": one.error.code, "message": one.error.message}
                for one in failed[:FAILURES_TOLD]
            ],
            "tokens": sum(one.tokens for one in answered),
            "cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
        }


async def _asked(context: StepContext, config: CacheWarmingConfig) -> Sequence[Answered | _Failed]:
    ask, tool = context.ask, _tool(context, config)
    if ask is None:
        raise context.failed("asks questions, and nothing answers calls here")
    places = asyncio.Semaphore(config.max_concurrent)

    async def one(query: str) -> Answered | _Failed:
        async with places:
            try:
                return await ask(tool, config.asking(query), context.deadline)
            except SibylError as error:
                return _Failed(query, error)

    first = random.randrange(len(config.queries))
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(one(query)) for query in (*config.queries[first:], *config.queries[:first])]
    return [task.result() for task in asked]


def _tool(context: StepContext, config: CacheWarmingConfig) -> str:
    try:
        return warmed_tool(context.services.workspace, config).name
    except NoToolToWarm as error:  # settings that a parameter holds are not known before the run
        raise context.failed(f"cannot ask: tool {error}") from error
