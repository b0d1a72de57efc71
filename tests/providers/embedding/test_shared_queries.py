"""A question's vector is made once for all who ask for it together, and a failure is nobody's for long."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from sibyl_runtime.errors import Overloaded
from sibyl_runtime.providers.embedding.shared_queries import MOST_QUESTIONS, SharedQueries
from sibyl_runtime.providers.protocols import Vectors


class Counting:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.fault: Exception | None = None

    async def embed_query(self, text: str) -> Vectors:
        self.asked.append(text)
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        return np.full(3, len(self.asked), dtype=np.float32)


def shared(inner: Counting) -> SharedQueries:
    embedder: Any = inner
    return SharedQueries(embedder)


async def test_those_who_ask_together_and_soon_after_share_a_vector() -> None:
    inner = Counting()
    embedder = shared(inner)
    asking = [asyncio.create_task(embedder.embed_query("a")) for _ in range(3)]
    await asyncio.sleep(0)
    inner.go.set()
    vectors = [await task for task in asking]
    assert all(vector is vectors[0] for vector in [*vectors, await embedder.embed_query("a")])
    await embedder.embed_query("b")
    assert inner.asked == ["a", "b"]


async def test_one_who_leaves_does_not_take_the_vector_from_the_others() -> None:
    inner = Counting()
    embedder = shared(inner)
    first, second = (asyncio.create_task(embedder.embed_query("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    inner.go.set()
    assert (await second).tolist() == [1, 1, 1]


async def test_when_all_have_left_nobody_asks_any_more_and_the_next_one_asks_anew() -> None:
    inner = Counting()
    embedder = shared(inner)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await embedder.embed_query("a")
    assert inner.asked == ["a", "a"]
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
    inner.go.set()
    assert (await embedder.embed_query("a")).tolist() == [3, 3, 3]


async def test_a_failure_is_told_to_all_who_wait_and_then_tried_again() -> None:
    inner = Counting()
    inner.go.set()
    inner.fault = Overloaded("busy")
    embedder = shared(inner)
    for _ in range(2):
        with pytest.raises(Overloaded, match="busy"):
            await embedder.embed_query("a")
    inner.fault = None
    assert (await embedder.embed_query("a")).tolist() == [3, 3, 3]


async def test_only_the_last_questions_are_remembered() -> None:
    inner = Counting()
    inner.go.set()
    embedder = shared(inner)
    for number in range(MOST_QUESTIONS + 1):
        await embedder.embed_query(str(number))
    await embedder.embed_query(str(MOST_QUESTIONS))
    await embedder.embed_query("0")
    assert len(inner.asked) == MOST_QUESTIONS + 2
