"""A run that is listened to: which step's answer is told, how slow readers are treated, what is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.answering import AnswerReuse, outcome_of
from sibyl_runtime.cache.memory import MemoryCache
from sibyl_runtime.errors import DeadlineExceeded
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.engine import PipelineEngine
from sibyl_runtime.pipeline.listening import AnswerText, Event, SourcesFound, StageEnded
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.providers.protocols import Generation
from sibyl_runtime.streaming import Narration, piece_size
from tests.pipeline.test_answering import Computation, result
from tests.support.conditions import until
from tests.support.parts import Parts, ScriptedModel

NEVER = Deadline.after(None)
STREAMING = {"subtechnique": "streaming"}


def pipeline(*generations: dict[str, Any]) -> dict[str, Any]:
    steps = [{"use": "ai_generation.generation", **generation} for generation in generations]
    return {"parameters": {"query": {"type": "string"}}, "steps": [{"use": "rag.retrieval"}, *steps]}


def named(name: str, condition: str | None = None, **config: Any) -> dict[str, Any]:
    step = {"name": name, "config": {**STREAMING, "prompt": f"{name} {{query}} {{context}}", **config}}
    return step if condition is None else {**step, "condition": condition}


@pytest.fixture
async def asked(parts: Parts, tmp_path: Path) -> Parts:
    """Three documents, and a model that answers."""
    (tmp_path / "a.txt").write_text("Pools hold connections.")
    await parts.ingest(tmp_path)
    parts.models = {"default": ScriptedModel(answer=Generation("Pools hold [1].", "m", 7, 5, "stop", (0,)))}
    return parts


async def hear(parts: Parts, *generations: dict[str, Any]) -> tuple[list[Event], PipelineResult]:
    parts.document["pipelines"] = {"ask": pipeline(*generations)}
    heard: list[Event] = []

    async def listen(event: Event) -> None:
        heard.append(event)

    engine = PipelineEngine(parts.services())
    outcome = await engine.run("ask", {"query": "What do pools hold?"}, deadline=NEVER, listener=listen)
    return heard, outcome


def kinds(heard: list[Event]) -> list[str]:
    """What was heard, pieces of text as one."""
    names = [event.step if isinstance(event, StageEnded) else type(event).__name__ for event in heard]
    return [name for position, name in enumerate(names) if position == 0 or names[position - 1] != name]


WHICH: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([named("one")], ["retrieval", "SourcesFound", "AnswerText", "one"]),
    # The answer of the run is the last one.
    ([named("one"), named("two")], ["retrieval", "one", "SourcesFound", "AnswerText", "two"]),
    # One of two, by conditions about what has run already.
    (
        [named("one", "${retrieval.count} > 0"), named("two", "${retrieval.count} == 0")],
        ["retrieval", "SourcesFound", "AnswerText", "one"],
    ),
    # Whether a second answer will be needed depends on the first: neither it nor a guess is told early.
    (
        [named("one"), named("two", "${one.tokens} > 100")],
        ["retrieval", "one"],
    ),
]


@pytest.mark.parametrize(("generations", "told"), WHICH, ids=["one", "last", "either", "not known"])
async def test_only_the_answer_of_the_run_is_told(
    asked: Parts, generations: list[dict[str, Any]], told: list[str]
) -> None:
    heard, outcome = await hear(asked, *generations)
    assert kinds(heard) == told
    text = "".join(event.text for event in heard if isinstance(event, AnswerText))
    assert text in ("", outcome_of(outcome, cache="off").output["answer"])


async def test_a_reader_that_is_slow_is_named_by_the_deadline_and_not_timed_as_a_stage(asked: Parts) -> None:
    asked.document["pipelines"] = {"ask": pipeline(named("one"))}
    now = 0.0

    async def dawdle(event: Event) -> None:
        nonlocal now
        if isinstance(event, AnswerText):
            now += 3

    engine = PipelineEngine(asked.services(), clock=lambda: now)
    outcome = await engine.run("ask", {"query": "x"}, deadline=NEVER, listener=dawdle)
    assert {timing.stage: timing.seconds for timing in outcome.stages}["generate"] == 0

    async def stall(event: Event) -> None:
        if isinstance(event, AnswerText):
            await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded) as caught:
        await engine.run("ask", {"query": "x"}, deadline=Deadline.after(0.5), listener=stall)
    assert caught.value.details["stage"] == "send"


async def tell(answer: str | None, size: int | None, *before: Event) -> list[Event]:
    heard: list[Event] = []

    async def listen(event: Event) -> None:
        heard.append(event)

    narration = Narration(listen)
    for event in before:
        await narration(event)
    outcome = outcome_of(result(answer or ""), cache="off")
    output = {**outcome.output, "answer": answer}
    await narration.complete(type(outcome)(output, 0, 0.0, (), "hit", 0.1), size)
    return heard


async def test_an_answer_that_is_kept_is_told_like_one_that_is_made() -> None:
    first, *texts = await tell("Yes, it does.", 2)
    assert isinstance(first, SourcesFound)
    assert "cited" not in first.sources[0]
    assert texts == [AnswerText("Yes,"), AnswerText(" it does"), AnswerText(".")]
    assert (await tell("Yes, it does.", None))[1:] == [AnswerText("Yes, it does.")]


async def test_what_was_told_is_not_told_again() -> None:
    told = (SourcesFound([]), AnswerText("Yes"))
    assert await tell("Yes", 1, *told) == list(told)
    assert await tell(None, 1, told[0]) == [told[0]]


def test_pieces_are_those_of_the_step_that_answers(parts: Parts) -> None:
    parts.document["pipelines"] = {
        "ask": pipeline(named("one", chunk_size=10)),
        "whole": pipeline({}),
        "find": {"steps": [{"use": "rag.retrieval"}], "parameters": {"query": {"type": "string"}}},
    }
    sizes = {name: piece_size(parts.workspace, name, {"query": "x"}) for name in ("ask", "whole", "find")}
    assert sizes == {"ask": 10, "whole": None, "find": None}


async def test_a_reader_never_makes_others_wait_but_joins_and_keeps() -> None:
    reuse = AnswerReuse(MemoryCache(max_size=10, ttl=60))
    slow, other = Computation(result()), Computation(result())
    slow.gate.clear()
    reading = asyncio.ensure_future(reuse.answer_to_a_reader("k", slow, deadline=NEVER))
    await slow.started.wait()
    assert (await reuse.answer("k", other, deadline=NEVER)).cache == "miss"
    slow.gate.set()
    assert (await reading).cache == "miss"
    assert (await reuse.answer_to_a_reader("k", slow, deadline=NEVER)).cache == "hit"

    other.gate.clear()
    leading = asyncio.ensure_future(reuse.answer("j", other, deadline=NEVER))
    await until(lambda: other.runs == 2)
    joining = asyncio.ensure_future(reuse.answer_to_a_reader("j", slow, deadline=NEVER))
    await asyncio.sleep(0)
    other.gate.set()
    assert ((await leading).cache, (await joining).cache) == ("miss", "hit")
    assert slow.runs == 1


async def test_an_object_is_kept_with_its_answer() -> None:
    made = result('{"a": 1}')
    results = {**made.results, "generation": {**made.results["generation"], "structured": {"a": 1}}}
    reuse = AnswerReuse(MemoryCache(max_size=10, ttl=60))
    compute = Computation(PipelineResult("search", results, (), 0.1))
    for cache in ("miss", "hit"):
        outcome = await reuse.answer("k", compute, deadline=NEVER)
        assert (outcome.cache, outcome.output["structured"]) == (cache, {"a": 1})
