"""What a step that warms caches asks, and what it tells of it. `ask` is scripted here; tests/guide has the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sibyl_runtime.errors import Overloaded, ProviderError, StepFailed
from sibyl_runtime.pipeline.asking import Answered
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.techniques.cache_warming import FAILURES_TOLD, MOST_LOST, CacheWarming
from sibyl_runtime.workspace import CacheWarmingConfig
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts

KEPT = Answered("found")
MADE = Answered("computed", tokens=7, cost_usd=0.5)
NOTHING = Answered("empty")
CUT = Answered("unkept", tokens=7, cost_usd=0.5)
LOST = Answered("lost", tokens=7, cost_usd=0.5)


class Asked:
    """Answers as scripted, by question, and remembers the calls and how many there were at once."""

    def __init__(self, answers: Mapping[str, Answered | Exception]) -> None:
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.running = self.most = 0

    async def __call__(self, tool: str, arguments: Mapping[str, Any], _: Deadline) -> Answered:
        self.calls.append((tool, dict(arguments)))
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        answer = self.answers[arguments["query"]]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def warmed(parts: Parts, asked: Asked, **config: Any) -> Mapping[str, Any]:
    context = replace(step_context(parts.services()), ask=asked)
    return await CacheWarming().run(context, CacheWarmingConfig(queries=list(asked.answers), **config))


async def test_every_question_is_asked_and_told_by_its_outcome(parts: Parts) -> None:
    asked = Asked({"a": KEPT, "b": MADE, "c": NOTHING, "d": ProviderError("away"), "e": MADE, "f": CUT})
    found = await warmed(parts, asked, arguments={"top_k": 3})
    assert sorted(arguments["query"] for _, arguments in asked.calls) == ["a", "b", "c", "d", "e", "f"]
    assert {tool for tool, _ in asked.calls} == {"search_documents"}
    assert all(arguments["top_k"] == 3 for _, arguments in asked.calls)
    assert found == {
        "queries": 6, "found": 1, "computed": 2, "empty": 1, "unkept": 1, "failed": 1, "tokens": 21, "cost_usd": 1.5,
        "failures": [{"query": "d", "code": "provider_error", "message": "away"}],
    }  # fmt: skip


async def test_a_cost_that_is_not_known_makes_the_sum_unknown(parts: Parts) -> None:
    found = await warmed(parts, Asked({"a": MADE, "b": replace(MADE, cost_usd=None)}))
    assert (found["tokens"], found["cost_usd"]) == (14, None)


@pytest.mark.parametrize("most", [1, 3])
async def test_so_many_are_asked_at_once_and_no_more(parts: Parts, most: int) -> None:
    asked = Asked({str(number): MADE for number in range(9)})
    await warmed(parts, asked, max_concurrent=most)
    assert asked.most == most


async def test_a_fault_of_one_question_ends_no_other(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    found = await warmed(parts, Asked({"a": MADE, "b": TypeError("no such thing"), "c": MADE}))
    assert (found["computed"], found["failed"]) == (2, 1)
    assert found["failures"][0]["message"].endswith("failed: TypeError; the log has the cause")
    assert "no such thing" in caplog.text


async def test_where_nothing_can_be_kept_only_a_few_questions_are_paid_for(parts: Parts) -> None:
    asked = Asked({str(number): LOST for number in range(20)})
    found = await warmed(parts, asked)
    assert len(asked.calls) == MOST_LOST
    assert (found["failed"], found["computed"]) == (20, 0)
    assert found["failures"][0]["code"] == "cache_unavailable"


async def test_a_flood_of_failures_is_told_by_its_first(parts: Parts) -> None:
    failing = {str(number): Overloaded("busy") for number in range(50)}
    found = await warmed(parts, Asked({"good": MADE, **failing}))
    assert (found["failed"], len(found["failures"])) == (50, FAILURES_TOLD)


async def test_the_first_question_varies_so_that_pods_share_the_work(parts: Parts) -> None:
    first = set()
    for _ in range(60):
        asked = Asked({str(number): MADE for number in range(4)})
        await warmed(parts, asked)
        first.add(asked.calls[0][1]["query"])
    assert first == {"0", "1", "2", "3"}


async def test_without_anything_that_answers_the_step_says_so(parts: Parts) -> None:
    with pytest.raises(StepFailed, match="asks questions, and nothing answers calls here"):
        await CacheWarming().run(step_context(parts.services()), CacheWarmingConfig(queries=["a"]))
