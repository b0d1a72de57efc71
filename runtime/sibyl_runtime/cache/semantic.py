"""The semantic cache: which answers that are kept may be given to a question that was not asked before.

It holds no answer, only questions. An answer lies in the answer cache under its own question's exact key, so that what
makes it unreachable there makes it unreachable here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from sibyl_runtime.cache.key import AnswerIdentity, answer_key, question_of, scope_key
from sibyl_runtime.cache.question_index import QuestionIndex, Vector
from sibyl_runtime.cache.question_stream import LONGEST_QUESTION, QuestionStream
from sibyl_runtime.cache.redis_server import RedisServer
from sibyl_runtime.cache.same_question import same_question
from sibyl_runtime.errors import SibylError
from sibyl_runtime.providers.protocols import Embedder
from sibyl_runtime.workspace import Caching


@dataclass
class Asked:
    """A call, and what was worked out of it on the way: its question's vector."""

    identity: AnswerIdentity
    scope: str
    question: str
    vector: Vector | None = None


@dataclass(frozen=True)
class Similar:
    """A question of the same meaning that was answered, its similarity, and the key of its answer."""

    question: str
    similarity: float
    key: str


class SemanticCache:
    """Finds answered questions of the same scope that mean the same. A fault is a miss."""

    def __init__(
        self, embedder: Embedder, index: QuestionIndex, *, threshold: float, stream: QuestionStream | None = None
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._threshold = threshold
        self._stream = stream

    def asked(self, identity: AnswerIdentity) -> Asked | None:
        """The call as this cache sees it; None for one without a question, or with one of LONGEST_QUESTION or more."""
        question = question_of(identity)
        if not question or len(question) >= LONGEST_QUESTION:
            return None
        return Asked(identity, scope_key(identity), question)

    async def similar(self, asked: Asked, *, timeout: float | None) -> list[Similar]:
        """Questions whose answers may be given, the nearest first; embeds the question, for `timeout` seconds at most.

        A question has three tests to pass: an equal scope, the threshold, and the guard.
        """
        for told in await self._stream.news() if self._stream is not None else ():
            self._index.add(told.scope, told.question, told.vector, age=told.age)
        if asked.vector is None:
            asked.vector = await self._embedded(asked.question, timeout)
        if asked.vector is None:
            return []
        return [
            Similar(near.question, near.similarity, _key_of(asked.identity, near.question))
            for near in self._index.near(asked.scope, asked.vector, threshold=self._threshold)
            if near.question != asked.question and same_question(near.question, asked.question)
        ]

    def used(self, asked: Asked, similar: Similar) -> None:
        """Its answer was given."""
        self._index.used(asked.scope, similar.question)

    def forget(self, asked: Asked, similar: Similar) -> None:
        """Its answer is gone."""
        self._index.remove(asked.scope, similar.question)

    async def answered(self, asked: Asked) -> None:
        """The call has an answer, which is kept: the next one that means the same may have it."""
        if asked.vector is None:
            return
        self._index.add(asked.scope, asked.question, asked.vector)
        if self._stream is not None:
            await self._stream.tell(asked.scope, asked.question, asked.vector)

    async def learn(self, asked: Asked, *, timeout: float | None) -> None:
        """The answer of this question is kept already, by another process or an earlier life of this one."""
        if asked.vector is None:
            asked.vector = await self._embedded(asked.question, timeout)
        if asked.vector is not None:
            self._index.add(asked.scope, asked.question, asked.vector)

    async def _embedded(self, question: str, timeout: float | None) -> Vector | None:
        try:
            async with asyncio.timeout(timeout):
                return await self._embedder.embed_query(question)
        except (SibylError, TimeoutError):
            # The pipeline embeds it as well, and tells of the fault better.
            return None


def semantic_cache(
    caching: Caching, embedder: Embedder, *, namespace: str, redis: RedisServer | None = None
) -> SemanticCache | None:
    """The semantic cache that `caching` describes, its questions shared through `redis`; None when it has none."""
    settings = caching.semantic_cache
    if settings is None:
        return None
    index = QuestionIndex(dimension=embedder.dimension, max_entries=settings.max_entries, ttl=settings.ttl)
    stream = None
    if redis is not None:
        stream = QuestionStream(
            redis,
            namespace=namespace,
            model=embedder.tag,
            dimension=embedder.dimension,
            max_entries=settings.max_entries,
            ttl=settings.ttl,
        )
    return SemanticCache(embedder, index, threshold=settings.similarity_threshold, stream=stream)


def _key_of(identity: AnswerIdentity, question: str) -> str:
    """The key of another question's answer. Worked out and never read, so that no entry can point elsewhere."""
    return answer_key(replace(identity, arguments={**identity.arguments, identity.query_parameter: question}))
