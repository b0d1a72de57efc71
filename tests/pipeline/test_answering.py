"""Answers that are reused: when, for whom, and never when they should not be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sibyl_runtime.answering import AnswerReuse, outcome_of
from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, ProviderError
from sibyl_runtime.pipeline.context import Deadline, StageTiming
from sibyl_runtime.pipeline.corpus_version import VERSION_MAX_AGE, CorpusVersion
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.store.records import Hit, StoreCounts
from tests.support.parts import Parts

HIT = Hit(1, "a.md", "A", "", "text", 0.5, {})
SOURCE = {"title": "A", "content": "text", "score": 0.5, "document": "a.md", "heading": "", "metadata": {}}
STAGES = (StageTiming("search", "retrieval", "retrieve", 0.01),)
NEVER = Deadline.after(None)


def result(answer: str = "yes", *, sources: int = 1, reusable: bool = True) -> PipelineResult:
    results: Mapping[str, Mapping[str, Any]] = {
        "retrieval": {"chunks": [HIT] * sources},
        "generation": {
            "answer": answer,
            "sources": [{**SOURCE, "cited": True}] * sources,
            "tokens": 12,
            "model": "m",
            "cost_usd": None,
        },
    }
    return PipelineResult("search", results, STAGES, 0.25, reusable=reusable)


class Computation:
    """Counts how often it runs; waits for `gate` before it answers."""

    def __init__(self, outcome: PipelineResult | Exception) -> None:
        self.outcome = outcome
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()

    async def __call__(self) -> PipelineResult:
        self.runs += 1
        self.started.set()
        await self.gate.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def reuse() -> AnswerReuse:
    return AnswerReuse(MemoryCache(max_size=10, ttl=60))


def test_an_outcome_is_the_last_answer_with_what_it_cost() -> None:
    outcome = outcome_of(result(), cache="off")
    assert outcome.output == {"answer": "yes", "sources": [{**SOURCE, "cited": True}]}
    assert (outcome.tokens_used, outcome.cost_usd, outcome.stages, outcome.seconds) == (12, None, STAGES, 0.25)


def test_without_a_generation_the_chunks_are_the_sources() -> None:
    retrieved = PipelineResult("find", {"retrieval": {"chunks": [HIT]}}, STAGES, 0.1)
    outcome = outcome_of(retrieved, cache="off")
    assert outcome.output == {"answer": None, "sources": [{**SOURCE, "cited": False}]}
    assert (outcome.tokens_used, outcome.cost_usd) == (0, 0.0)


async def test_the_second_call_costs_nothing(reuse: AnswerReuse) -> None:
    compute = Computation(result())
    first = await reuse.answer("k", compute, deadline=NEVER)
    second = await reuse.answer("k", compute, deadline=NEVER)
    assert (first.cache, first.tokens_used, first.stages) == ("miss", 12, STAGES)
    assert (second.cache, second.tokens_used, second.cost_usd, second.stages) == ("hit", 0, 0.0, ())
    assert second.output == first.output
    assert compute.runs == 1


@pytest.mark.parametrize("outcome", [result(sources=0), result(reusable=False)])
async def test_an_empty_retrieval_and_a_cut_answer_are_not_kept(reuse: AnswerReuse, outcome: PipelineResult) -> None:
    compute = Computation(outcome)
    assert (await reuse.answer("k", compute, deadline=NEVER)).cache == "miss"
    assert (await reuse.answer("k", compute, deadline=NEVER)).cache == "miss"
    assert compute.runs == 2


async def test_an_error_is_not_kept(reuse: AnswerReuse) -> None:
    compute = Computation(ProviderError("refused"))
    for _ in range(2):
        with pytest.raises(ProviderError, match="refused"):
            await reuse.answer("k", compute, deadline=NEVER)
    assert compute.runs == 2


async def test_identical_calls_that_arrive_together_are_computed_once(reuse: AnswerReuse) -> None:
    compute = Computation(result())
    compute.gate.clear()
    calls = [asyncio.ensure_future(reuse.answer("k", compute, deadline=NEVER)) for _ in range(5)]
    await compute.started.wait()
    compute.gate.set()
    outcomes = await asyncio.gather(*calls)
    assert compute.runs == 1
    assert sorted(outcome.cache for outcome in outcomes) == ["hit"] * 4 + ["miss"]
    assert sum(outcome.tokens_used for outcome in outcomes) == 12, "what was spent once is counted once"


async def test_an_answer_that_was_cut_is_nobody_elses(reuse: AnswerReuse) -> None:
    compute = Computation(result(reusable=False))
    compute.gate.clear()
    calls = [asyncio.ensure_future(reuse.answer("k", compute, deadline=NEVER)) for _ in range(3)]
    await compute.started.wait()
    compute.gate.set()
    outcomes = await asyncio.gather(*calls)
    assert [outcome.cache for outcome in outcomes] == ["miss"] * 3
    assert compute.runs == 3


async def test_a_caller_who_goes_away_takes_nothing_from_the_others(reuse: AnswerReuse) -> None:
    compute = Computation(result())
    compute.gate.clear()
    leader, follower = (asyncio.ensure_future(reuse.answer("k", compute, deadline=NEVER)) for _ in range(2))
    await compute.started.wait()
    leader.cancel()
    await asyncio.wait({leader})
    compute.gate.set()
    assert (await follower).output["answer"] == "yes"
    assert compute.runs == 1


async def test_whoever_waits_for_another_call_keeps_an_own_deadline(reuse: AnswerReuse) -> None:
    compute = Computation(result())
    compute.gate.clear()
    leader = asyncio.ensure_future(reuse.answer("k", compute, deadline=NEVER))
    await compute.started.wait()
    with pytest.raises(DeadlineExceeded, match="stage `waiting for an identical call`"):
        await reuse.answer("k", compute, deadline=Deadline.after(0.01))
    compute.gate.set()
    assert (await leader).cache == "miss"


@pytest.mark.parametrize("kept", [b"nonsense", b"[]", b'{"answer": "x"}'])
async def test_what_is_no_answer_in_the_cache_is_a_miss(kept: bytes) -> None:
    cache = MemoryCache(max_size=10, ttl=60)
    await cache.set("k", kept)
    outcome = await AnswerReuse(cache).answer("k", Computation(result()), deadline=NEVER)
    assert (outcome.cache, outcome.output["answer"]) == ("miss", "yes")


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


async def test_the_corpus_version_is_read_once_a_second(parts: Parts) -> None:
    clock, reads = Clock(), 0

    async def read() -> None:
        nonlocal reads
        reads += 1

    parts.store.before = read
    version = CorpusVersion(parts.store, clock=clock)
    seen = await asyncio.gather(*(version.current() for _ in range(5)))
    clock.now += VERSION_MAX_AGE
    assert {*seen, await version.current()} == {(await parts.stored()).corpus_version}
    assert reads == 1
    clock.now += 0.01
    await version.current()
    assert reads == 2
    version.forget()
    await version.current()
    assert reads == 3


async def test_a_version_that_was_read_while_the_corpus_changed_is_not_kept() -> None:
    class Changing:
        """Answers with the version before the change, after the change."""

        version = 1

        async def counts(self) -> StoreCounts:
            before = self.version
            if before == 1:
                self.version = 2
                kept.forget()
            return StoreCounts(0, 0, before)

    kept = CorpusVersion(Changing())  # type: ignore[arg-type]  # only counts is asked
    assert await kept.current() == 1
    assert await kept.current() == 2


async def test_a_database_that_is_away_is_no_version(parts: Parts) -> None:
    async def gone() -> None:
        raise DatabaseUnavailable("away")

    parts.store.before = gone
    with pytest.raises(DatabaseUnavailable, match="away"):
        await CorpusVersion(parts.store).current()
