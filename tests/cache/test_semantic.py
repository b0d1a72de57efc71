"""Answers given to other questions, with the real model: when, of what scope, and never without an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sibyl_runtime.answering import AnswerReuse, ToolOutcome
from sibyl_runtime.cache import AnswerIdentity, RedisServer, SemanticCache, answer_key, cache_of, open_redis
from sibyl_runtime.cache import semantic_cache as opened_semantic
from sibyl_runtime.cache.key import scope_key
from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.errors import DatabaseUnavailable, Overloaded
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.providers.protocols import Embedder
from sibyl_runtime.store.records import Hit
from sibyl_runtime.workspace import Caching
from tests.support.caches import PATIENCE
from tests.support.parts import WatchedEmbedder

ASKED = "How do I reset my password?"
ALIKE = "Please tell me how to reset my password."
IDENTITY = AnswerIdentity("shop", "search", "v1", 7, "minilm", "gpt", {"query": ASKED, "top_k": 5})
NEVER = Deadline.after(None)
ON = {"enabled": True, "semantic": {"similarity_threshold": 0.9}}


def semantic_cache(
    embedder: Embedder, settings: Mapping[str, Any] = ON, redis: RedisServer | None = None
) -> SemanticCache:
    cache = opened_semantic(Caching.model_validate(settings), embedder, namespace="shop", redis=redis)
    assert cache is not None
    return cache


class Pod:
    """One process's caches, and a pipeline that counts its runs."""

    def __init__(self, embedder: Embedder, settings: Mapping[str, Any] = ON) -> None:
        caching = Caching.model_validate(settings)
        self._redis = open_redis(caching)
        cache = cache_of(caching, namespace="shop", kind="answer", redis=self._redis)
        assert cache is not None
        self.cache, self.semantic = cache, semantic_cache(embedder, settings, self._redis)
        self._reuse = AnswerReuse(self.cache, self.semantic)
        self.runs = 0
        self.sources, self.reusable = 1, True

    async def ask(self, question: str, *, deadline: Deadline = NEVER, **changes: Any) -> ToolOutcome:
        arguments = {**IDENTITY.arguments, **changes.pop("arguments", {}), "query": question}
        identity = replace(IDENTITY, **changes, arguments=arguments)

        async def compute() -> PipelineResult:
            self.runs += 1
            hits = [Hit(1, "a.md", "A", "", "text", 0.5, {})] * self.sources
            answer = {"answer": question, "sources": [{"document": "a.md"}] * self.sources, "tokens": 1}
            results: dict[str, dict[str, Any]] = {
                "retrieval": {"chunks": hits},
                "generation": {**answer, "cost_usd": None},
            }
            return PipelineResult("search", results, (), 0.1, reusable=self.reusable)

        return await self._reuse.answer(
            answer_key(identity), compute, deadline=deadline, asked=self.semantic.asked(identity)
        )

    async def close(self) -> None:
        await self.cache.close()
        if self._redis is not None:
            await self._redis.close()


async def test_a_question_of_the_same_meaning_has_the_answer_and_is_told_so(embedder: Embedder) -> None:
    pod = Pod(embedder)
    first, again, alike = [await pod.ask(question) for question in (ASKED, ASKED, ALIKE)]
    assert [outcome.cache for outcome in (first, again, alike)] == ["miss", "hit", "hit"]
    assert pod.runs == 1
    assert first.reuse is None
    assert again.reuse is not None
    assert alike.reuse is not None
    assert (again.reuse.kind, again.reuse.question) == ("exact", None)
    assert (alike.reuse.kind, alike.reuse.question, alike.output["answer"]) == ("semantic", ASKED, ASKED)
    assert 0.9 <= alike.reuse.similarity < 1
    assert (alike.tokens_used, alike.cost_usd, alike.stages) == (0, 0.0, ())


async def test_an_opposite_is_computed_however_near_it_is(embedder: Embedder) -> None:
    pod = Pod(embedder, {"enabled": True, "semantic": {"similarity_threshold": 0.0}})
    for question in ("How do I enable TLS?", "How do I disable TLS?", "How do I not enable TLS?"):
        assert (await pod.ask(question)).cache == "miss"


async def test_below_the_threshold_even_the_same_words_are_computed(embedder: Embedder) -> None:
    pod = Pod(embedder, {"enabled": True, "semantic": {"similarity_threshold": 0.9999}})
    assert [(await pod.ask(question)).cache for question in (ASKED, ALIKE)] == ["miss", "miss"]


@pytest.mark.parametrize(
    "change",
    [
        {"workspace": "other"},
        {"tool": "find"},
        {"pipeline": "v2"},
        {"corpus_version": 8},
        {"embedder": "another"},
        {"llm": "another"},
        {"arguments": {"top_k": 6}},
        {"arguments": {"filters": {"team": "b"}}},
    ],
    ids=str,
)
async def test_another_scope_has_nothing_of_it(embedder: Embedder, change: dict[str, Any]) -> None:
    pod = Pod(embedder)
    await pod.ask(ASKED)
    assert (await pod.ask(ALIKE, **change)).cache == "miss"
    assert (await pod.ask(ALIKE)).cache == "hit"


def test_a_scope_is_all_but_the_question_and_no_text_can_pose_as_another_part() -> None:
    assert scope_key(replace(IDENTITY, arguments={"query": "x", "top_k": 5})) == scope_key(IDENTITY)
    others = [replace(IDENTITY, workspace="shopsearch", tool=""), replace(IDENTITY, arguments={"top_k": "5"})]
    assert len({scope_key(identity) for identity in (IDENTITY, *others)}) == 3
    assert scope_key(IDENTITY) != answer_key(IDENTITY)


async def test_an_answer_that_was_pushed_out_is_a_miss_and_its_question_is_dropped(embedder: Embedder) -> None:
    pod = Pod(embedder, {**ON, "memory": {"max_size": 1}})
    await pod.ask(ASKED)
    await pod.ask("What is TLS?")
    assert (await pod.ask(ALIKE)).cache == "miss"
    found = await pod.semantic.similar(asked_of(pod, "How can I reset my password?"), timeout=None)
    assert [similar.question for similar in found] == [ALIKE]


def asked_of(pod: Pod, question: str) -> Any:
    return pod.semantic.asked(replace(IDENTITY, arguments={**IDENTITY.arguments, "query": question}))


@pytest.mark.parametrize(("sources", "reusable"), [(0, True), (1, False)])
async def test_what_is_not_kept_is_not_reused(embedder: Embedder, sources: int, reusable: bool) -> None:
    pod = Pod(embedder)
    pod.sources, pod.reusable = sources, reusable
    assert [(await pod.ask(question)).cache for question in (ASKED, ALIKE)] == ["miss", "miss"]


async def test_what_lies_under_the_key_and_is_no_answer_is_a_miss(embedder: Embedder) -> None:
    pod = Pod(embedder)
    await pod.ask(ASKED)
    await pod.cache.set(answer_key(IDENTITY), b"nonsense")
    assert (await pod.ask(ALIKE)).cache == "miss"


@pytest.mark.parametrize("error", [Overloaded("full"), DatabaseUnavailable("away")])
async def test_a_model_that_fails_is_a_miss(embedder: Embedder, error: Exception) -> None:
    watched = WatchedEmbedder(embedder)
    pod = Pod(watched)
    await pod.ask(ASKED)

    async def fail() -> None:
        raise error

    watched.before = fail
    outcome = await pod.ask(ALIKE)
    assert (outcome.cache, outcome.output["answer"]) == ("miss", ALIKE)


async def test_a_hit_of_the_same_spelling_embeds_nothing_and_a_computed_answer_once(embedder: Embedder) -> None:
    watched = WatchedEmbedder(embedder)
    pod = Pod(watched)
    await pod.ask(ASKED)
    await pod.ask(ASKED)
    assert watched.queries == [ASKED]


async def test_a_question_that_is_too_long_or_empty_and_a_call_without_one_are_left_alone(embedder: Embedder) -> None:
    pod = Pod(embedder)
    assert asked_of(pod, "x" * 9000) is None
    assert asked_of(pod, " ") is None
    assert pod.semantic.asked(replace(IDENTITY, arguments={"top_k": 5})) is None


async def test_pods_share_through_redis_and_do_without_it(
    embedder: Embedder, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATIENCE, 5.0)
    shared = {**ON, "redis": {"url": redis_url}}
    one, other = Pod(embedder, shared), Pod(embedder, shared)
    await one.ask(ASKED)
    outcome = await other.ask(ALIKE)
    assert (outcome.cache, other.runs) == ("hit", 0)
    assert outcome.reuse is not None
    assert (outcome.reuse.kind, outcome.reuse.question) == ("semantic", ASKED)
    gone = Pod(embedder, {**ON, "memory": {}, "redis": {"url": "redis://127.0.0.1:1/0"}})
    assert [(await gone.ask(question)).cache for question in (ASKED, ALIKE)] == ["miss", "hit"]
    for pod in (one, other, gone):
        await pod.close()


def test_it_is_off_unless_asked_for(embedder: Embedder) -> None:
    for settings in ({}, {"enabled": True}, {"enabled": False, "semantic": {}}, {"semantic": {"enabled": False}}):
        assert opened_semantic(Caching.model_validate(settings), embedder, namespace="shop") is None


async def test_without_a_semantic_cache_the_answer_cache_is_as_it_was() -> None:
    reuse = AnswerReuse(MemoryCache(max_size=10, ttl=60))

    async def compute() -> PipelineResult:
        return PipelineResult("search", {"retrieval": {"chunks": []}}, (), 0.1)

    assert (await reuse.answer("k", compute, deadline=NEVER)).cache == "miss"
