"""Steps at the same time: what they see, what they return, what a failure of one means for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.cli.pipeline import describe, result_lines
from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, InvalidParameters, ProviderError, SibylError
from sibyl_runtime.pipeline.context import Deadline, StepContext
from sibyl_runtime.pipeline.engine import PipelineEngine
from sibyl_runtime.pipeline.listening import Event, StageEnded
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.providers.protocols import Generation
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.fusing import fused
from sibyl_runtime.workspace import parse_workspace
from tests.support.parts import Parts, ScriptedModel

Document = Mapping[str, Any]
Work = Callable[[StepContext], Awaitable[None]]
NEVER = Deadline.after(None)
FIRST, SECOND = ProviderError("first"), DatabaseUnavailable("second")


@dataclass
class Searches:
    """A technique that finds one chunk a step, after doing what the step is told to do."""

    work: Mapping[str, Work]
    ran: list[str] = field(default_factory=list)
    id: str = "rag.retrieval"
    stage: str = "retrieve"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, _: object) -> Mapping[str, Any]:
        self.ran.append(context.step)
        with context.timed("retrieve"):
            if context.step in self.work:
                await self.work[context.step](context)
        number = sum(context.step.encode())
        chunk = Hit(number, context.step, "", "", "", number / 1000, {})
        return {"chunks": [chunk], "count": len(context.results), "avg_score": chunk.score, "top_score": chunk.score}


def patience() -> Deadline:
    """A test that hangs fails."""
    return Deadline.after(30)


def step(name: str, **settings: Any) -> dict[str, Any]:
    return {"use": "rag.retrieval", "name": name, **settings}


def group(*steps: Document, **settings: Any) -> dict[str, Any]:
    return {"parallel": {"steps": list(steps), **settings}}


def engine_of(entries: Sequence[Document], worker: Searches) -> PipelineEngine:
    workspace = parse_workspace({"pipelines": {"p": {"steps": list(entries)}}}, environ={})
    services: Any = type("Parts", (), {"workspace": workspace})
    return PipelineEngine(services, {worker.id: worker})


async def run(
    entries: Sequence[Document], work: Mapping[str, Work], deadline: Deadline | None = None
) -> tuple[PipelineResult, list[str]]:
    worker = Searches(work)
    return await engine_of(entries, worker).run("p", {"query": "q"}, deadline=deadline or patience()), worker.ran


def failing(error: SibylError) -> Work:
    async def fail(_: StepContext) -> None:
        raise error

    return fail


class Meeting:
    """Each party waits until the others have come."""

    def __init__(self, *parties: str) -> None:
        self.events = {party: asyncio.Event() for party in parties}

    async def __call__(self, context: StepContext) -> None:
        self.events[context.step].set()
        for event in self.events.values():
            await event.wait()


class Endless:
    """Goes on until it is broken off, and notes that."""

    def __init__(self) -> None:
        self.started, self.ended = asyncio.Event(), asyncio.Event()
        self.broken_off: list[str] = []

    async def __call__(self, context: StepContext) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.broken_off.append(context.step)
            self.ended.set()

    def then(self, error: SibylError) -> Work:
        async def fail(_: StepContext) -> None:
            await self.started.wait()
            raise error

        return fail


async def test_steps_of_a_group_run_at_the_same_time() -> None:
    meeting = Meeting("a", "b", "c")
    result, ran = await run([group(step("a"), step("b"), step("c"))], dict.fromkeys("abc", meeting))
    assert sorted(ran) == ["a", "b", "c"]
    assert list(result.results) == ["a", "b", "c", "parallel_results"]
    assert [timing.step for timing in result.stages] == ["a", "b", "c"]
    starts, ends = zip(*((one.started, one.started + one.seconds) for one in result.stages), strict=True)
    assert max(starts) < min(ends)


async def test_a_step_of_a_group_sees_what_was_there_before_the_group() -> None:
    seen: dict[str, list[str]] = {}

    async def look(context: StepContext) -> None:
        await asyncio.sleep(0)
        seen[context.step] = list(context.results)

    entries = [step("a"), group(step("b"), step("c")), step("d")]
    await run(entries, dict.fromkeys("abcd", look))
    assert seen == {"a": [], "b": ["a"], "c": ["a"], "d": ["a", "b", "c", "parallel_results"]}


async def test_the_first_failure_breaks_the_others_off_and_is_told_with_its_step() -> None:
    endless = Endless()
    work: dict[str, Work] = {"a": endless, "b": endless.then(FIRST)}
    with pytest.raises(ProviderError, match=r"^first$") as caught:
        await run([group(step("a"), step("b")), step("c")], work)
    assert caught.value.details["step"] == "b"
    assert endless.broken_off == ["a"]


async def test_a_step_that_runs_always_is_not_broken_off() -> None:
    endless, done = Endless(), []

    async def finish(context: StepContext) -> None:
        await endless.ended.wait()
        done.append(context.step)

    work: dict[str, Work] = {"a": endless, "b": endless.then(SECOND), "c": finish}
    with pytest.raises(DatabaseUnavailable):
        await run([group(step("a"), step("b"), step("c", always=True))], work)
    assert done == ["c"]


async def test_without_fail_fast_the_others_end_first() -> None:
    failed, done = asyncio.Event(), []

    async def fail(_: StepContext) -> None:
        failed.set()
        raise ProviderError("first")

    async def finish(context: StepContext) -> None:
        await failed.wait()
        await asyncio.sleep(0)
        done.append(context.step)

    with pytest.raises(ProviderError):
        await run([group(step("a"), step("b"), fail_fast=False)], {"a": fail, "b": finish})
    assert done == ["b"]


async def test_a_failure_that_the_step_allows_leaves_the_others_alone() -> None:
    entries = [group(step("a", on_error="continue"), step("b"), step("c")), step("d")]
    result, _ = await run(entries, {"a": failing(FIRST)})
    assert list(result.results) == ["b", "c", "parallel_results", "d"]
    assert result.notes["a"]["fallbacks"] == [{"from": "a", "to": None, "reason": FIRST.code, "message": "first"}]
    assert not result.reusable
    assert [hit.document_id for hit in result.results["parallel_results"]["chunks"]] == ["b", "c"]


@pytest.mark.parametrize(("error", "mended"), [(FIRST, True), (InvalidParameters("wrong"), False)])
async def test_the_step_after_a_group_can_take_its_place(error: SibylError, mended: bool) -> None:
    endless = Endless()
    entries = [group(step("a"), step("b")), step("c", on_error=True), step("d")]
    work: dict[str, Work] = {"a": endless, "b": endless.then(error)}
    if not mended:
        with pytest.raises(InvalidParameters):
            await run(entries, work)
        return
    result, ran = await run(entries, work)
    assert sorted(ran) == ["a", "b", "c", "d"]
    assert list(result.results) == ["c", "d"]
    assert list(result.notes) == ["b"]


async def test_the_step_after_a_group_that_works_has_nothing_to_mend() -> None:
    result, ran = await run([group(step("a"), step("b")), step("c", on_error=True)], {})
    assert sorted(ran) == ["a", "b"]
    assert [timing.step for timing in result.stages if timing.skipped] == ["c"]


async def test_after_a_failure_only_what_runs_always_runs_of_a_group() -> None:
    worker = Searches({"a": failing(FIRST)})
    entries = [step("a"), group(step("b"), step("c", always=True))]
    with pytest.raises(ProviderError, match=r"^first$"):
        await engine_of(entries, worker).run("p", {"query": "q"}, deadline=NEVER)
    assert worker.ran == ["a", "c"]


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        (group(step("a"), step("b", timeout_s=0.01)), "raise timeout_s of step `b`"),
        (group(step("a"), step("b"), timeout_s=0.01), "raise timeout_s of the group of parallel steps"),
    ],
    ids=["step", "group"],
)
async def test_time_limits_name_the_step_and_what_gives_more(entry: Document, remedy: str) -> None:
    endless = Endless()
    work: dict[str, Work] = {"b": endless} if "timeout_s" not in entry["parallel"] else {"a": endless, "b": endless}
    with pytest.raises(DeadlineExceeded, match=remedy) as caught:
        await run([entry], work)
    assert caught.value.details["step"] in work
    assert caught.value.details["stage"] == "retrieve"


async def test_a_step_that_takes_too_long_can_be_done_without() -> None:
    entries = [group(step("a"), step("b", timeout_s=0.01, on_error="continue"))]
    result, _ = await run(entries, {"b": Endless()})
    assert list(result.results) == ["a", "parallel_results"]


async def test_who_gives_up_a_run_ends_all_steps_of_its_group() -> None:
    endless = Endless()
    task = asyncio.create_task(run([group(step("a"), step("b"))], {"a": endless, "b": endless}, NEVER))
    await endless.started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(endless.broken_off) == ["a", "b"]


async def test_a_fault_of_a_technique_is_told_with_its_step() -> None:
    async def fault(_: StepContext) -> None:
        raise ZeroDivisionError("a fault")

    with pytest.raises(SibylError, match="step `b` of pipeline `p` failed: ZeroDivisionError: a fault"):
        await run([group(step("a"), step("b"))], {"b": fault})


async def test_a_search_that_is_not_wanted_is_left_out_of_what_is_gathered() -> None:
    entries = [
        step("a"),
        group(step("b"), step("c", condition="${a.avg_score} > 1"), gather="both"),
        step("d", condition="${both.count} == 1"),
    ]
    result, _ = await run(entries, {})
    assert list(result.results) == ["a", "b", "both", "d"]
    assert [timing.step for timing in result.stages if timing.skipped] == ["c"]


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[dict[str, Any]], set[str]]:
    """Entries of a pipeline with conditions about earlier steps, and the steps that fail and may."""
    names = iter("abcdefghijklmnopqrstuvwx")
    before: list[str] = []
    allowed: set[str] = set()

    def drawn() -> dict[str, Any]:
        made = step(next(names))
        kind = draw(st.sampled_from(["plain", "condition", "failing"]))
        if kind == "condition" and before:
            made["condition"] = (
                f"${{{draw(st.sampled_from(before))}.avg_score}} > {draw(st.sampled_from([0.1, 0.104]))}"
            )
        elif kind == "failing":
            made["on_error"] = "continue"
            allowed.add(made["name"])
        return made

    entries: list[dict[str, Any]] = []
    for number, size in enumerate(draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))):
        steps = [drawn() for _ in range(size)]
        entries.append(steps[0] if size == 1 else group(*steps, gather=f"group_{number}"))
        before += [one["name"] for one in steps if one.keys() == {"use", "name"}]
    return entries, allowed


@settings(max_examples=150, deadline=None)
@given(trees(), st.randoms(use_true_random=False))
async def test_groups_give_what_their_steps_give_one_after_the_other(tree: Any, random: Any) -> None:
    entries, allowed = tree
    flat = [one for entry in entries for one in entry.get("parallel", {"steps": [entry]})["steps"]]
    turns = {one["name"]: random.randrange(4) for one in flat}

    async def work(context: StepContext) -> None:
        for _ in range(turns[context.step]):
            await asyncio.sleep(0)
        if context.step in allowed:
            raise ProviderError(context.step)

    by_name = dict.fromkeys(turns, work)
    beside, _ = await run(entries, by_name)
    after, _ = await run(flat, by_name)

    def told(result: PipelineResult) -> Any:
        found = {name: one["chunks"] for name, one in result.results.items() if not name.startswith("group_")}
        stages = [(timing.step, timing.stage, timing.skipped) for timing in result.stages]
        return list(found.items()), stages, result.notes, result.reusable

    assert told(beside) == told(after)


TEXTS = {
    "pools.txt": "Pools hold connections to the database, so that a request need not open one.",
    "index.txt": "An HNSW index finds near vectors fast.",
    "words.txt": "Keyword search ranks by rare words such as xylophone.",
}
BESIDE = {
    "parameters": {"query": {"type": "string"}},
    "steps": [
        {
            "parallel": {
                "steps": [
                    {"use": "rag.retrieval", "name": "near", "config": {"subtechnique": "vector", "top_k": 2}},
                    {"use": "rag.retrieval", "name": "words", "config": {"subtechnique": "keyword", "top_k": 2}},
                    {"use": "infrastructure.query_classifier"},
                ]
            }
        },
        {"use": "ai_generation.generation", "config": {"subtechnique": "streaming"}},
    ],
}


@pytest.fixture
async def beside(parts: Parts, tmp_path: Path) -> Parts:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    await parts.ingest(tmp_path)
    parts.models = {"default": ScriptedModel(answer=Generation("Rare words [1].", "m", 7, 5, "stop", (0,)))}
    parts.document["pipelines"] = {"ask": BESIDE}
    return parts


async def test_two_searches_become_one_order_by_rank_and_the_answer_rests_on_it(beside: Parts) -> None:
    heard: list[Event] = []
    listening = 0

    async def listen(event: Event) -> None:
        nonlocal listening
        listening += 1
        await asyncio.sleep(0)
        assert listening == 1
        heard.append(event)
        listening -= 1

    engine = PipelineEngine(beside.services())
    result = await engine.run("ask", {"query": "a xylophone"}, deadline=patience(), listener=listen)
    near, words = (result.results[name]["chunks"] for name in ("near", "words"))
    both = result.results["parallel_results"]
    assert len(near) == 2
    assert [hit.document_id for hit in words] == ["words.txt"]
    assert both["chunks"] == fused([near, words])
    assert both["count"] == len({hit.chunk_id for hit in (*near, *words)})
    assert both["top_score"] == max(hit.score for hit in both["chunks"])
    sources = result.results["generation"]["sources"]
    assert [source["document"] for source in sources] == [hit.document_id for hit in both["chunks"]]
    steps = {event.step for event in heard if isinstance(event, StageEnded)}
    assert {"near", "words", "generation"} <= steps
    assert result.results["query_classifier"]["complexity"] >= 0


async def test_people_are_shown_groups_and_what_they_gathered(beside: Parts) -> None:
    services = beside.services()
    shown = describe("ask", services.workspace.pipelines["ask"])
    assert shown["steps"] == [
        "rag.retrieval + rag.retrieval + infrastructure.query_classifier",
        "ai_generation.generation",
    ]
    result = await PipelineEngine(services).run("ask", {"query": "pools"}, deadline=patience())
    lines = result_lines(result)
    at = lines.index("parallel_results  gathered")
    assert lines[at + 1].startswith("  chunks: ")
