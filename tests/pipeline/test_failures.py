"""What a failing step means for the run: `on_error`, `always`, `timeout_s`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.answering import outcome_of
from sibyl_runtime.errors import DatabaseUnavailable, DeadlineExceeded, InvalidParameters, ProviderError, SibylError
from sibyl_runtime.pipeline.context import Deadline, StepContext
from sibyl_runtime.pipeline.engine import PipelineEngine
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.techniques.generation import NO_SEARCH
from sibyl_runtime.workspace import parse_workspace
from tests.support.parts import Parts, ScriptedModel

FIRST, SECOND = ProviderError("first"), DatabaseUnavailable("second")
NEVER = Deadline.after(None)


class Scripted:
    """A technique whose steps, by name, fail as told; it notes which of them ran."""

    id = "rag.retrieval"
    stage = "retrieve"
    merges: frozenset[str] = frozenset()

    def __init__(self, failures: Mapping[str, Exception]) -> None:
        self.failures = failures
        self.ran: list[str] = []

    async def run(self, context: StepContext, _: object) -> Mapping[str, Any]:
        self.ran.append(context.step)
        if context.step in self.failures:
            raise self.failures[context.step]
        return {"chunks": [], "count": len(self.ran), "avg_score": None, "top_score": None}


async def run(steps: Mapping[str, Mapping[str, Any]], worker: Scripted, deadline: Deadline = NEVER) -> PipelineResult:
    listed = [{"use": "rag.retrieval", "name": name, **settings} for name, settings in steps.items()]
    workspace = parse_workspace({"pipelines": {"p": {"steps": listed}}}, environ={})
    services: Any = type("Parts", (), {"workspace": workspace})
    engine = PipelineEngine(services, {worker.id: worker})
    return await engine.run("p", {"query": "q"}, deadline=deadline)


MEND: Mapping[str, Any] = {"on_error": True}
GO_ON: Mapping[str, Any] = {"on_error": "continue"}
ALWAYS: Mapping[str, Any] = {"always": True}


@pytest.mark.parametrize(
    ("steps", "failing", "ran", "to"),
    [
        ({"a": {}, "b": MEND, "c": {}}, {}, "ac", {}),
        ({"a": {}, "b": MEND, "c": {}}, {"a": FIRST}, "abc", {"a": "b"}),
        ({"a": {}, "b": MEND, "c": MEND, "d": {}}, {"a": FIRST}, "abd", {"a": "b"}),
        ({"a": {}, "b": MEND, "c": MEND, "d": {}}, {"a": FIRST, "b": SECOND}, "abcd", {"b": "c"}),
        ({"a": GO_ON, "b": {}}, {"a": FIRST}, "ab", {}),
        ({"a": GO_ON, "b": MEND, "c": {}}, {"a": FIRST}, "abc", {"a": "b"}),
        ({"a": {}, "b": GO_ON}, {"b": FIRST}, "ab", {}),
        ({"a": {}, "b": ALWAYS}, {}, "ab", {}),
    ],
)
async def test_a_failure_that_is_provided_for_does_not_end_the_run(
    steps: Mapping[str, Mapping[str, Any]], failing: Mapping[str, Exception], ran: str, to: Mapping[str, str]
) -> None:
    worker = Scripted(failing)
    result = await run(steps, worker)
    assert worker.ran == list(ran)
    assert set(result.results) == set(ran) - set(failing)
    assert [timing.step for timing in result.stages if timing.skipped] == sorted(set(steps) - set(ran))
    assert result.reusable is (not failing)
    assert {step: note["fallbacks"] for step, note in result.notes.items()} == {
        step: [{"from": step, "to": to.get(step), "reason": error.code, "message": str(error)}]
        for step, error in failing.items()
        if isinstance(error, SibylError)
    }


@pytest.mark.parametrize(
    ("first", "failing"), [(GO_ON, {"a": FIRST}), ({"condition": "1 > 2"}, {})], ids=["failed", "skipped"]
)
@pytest.mark.parametrize("condition", ["${a.count} > 0", "not ${a.count} > 0", "1 > 2 or ${a.count} > 0"])
async def test_a_step_that_asks_about_one_without_a_result_is_skipped_and_says_why(
    first: Mapping[str, Any], failing: Mapping[str, Exception], condition: str
) -> None:
    worker = Scripted(failing)
    result = await run({"a": first, "b": {"condition": condition}, "c": {}}, worker)
    assert worker.ran == [*failing, "c"]
    assert result.notes["b"] == {
        "reason": f'"{condition}": ${{a.count}}: step "a" has no result; it did not run',
    }
    assert [timing.step for timing in result.stages if timing.skipped][-1] == "b"


@pytest.mark.parametrize(
    ("steps", "failing", "ran", "raised"),
    [
        ({"a": {}, "b": {}}, {"a": FIRST}, "a", FIRST),
        ({"a": {"on_error": "fail"}, "b": {}}, {"a": FIRST}, "a", FIRST),
        ({"a": {}, "b": MEND, "c": {}}, {"a": FIRST, "b": SECOND}, "ab", SECOND),
        ({"a": {}, "b": {}, "c": ALWAYS, "d": {}, "e": ALWAYS}, {"a": FIRST}, "ace", FIRST),
        ({"a": {}, "b": ALWAYS, "c": ALWAYS}, {"a": FIRST, "b": SECOND}, "abc", FIRST),
        ({"a": {}, "b": {**MEND, "condition": "1 > 2"}, "c": {}}, {"a": FIRST}, "a", FIRST),
        ({"a": {}, "b": {**MEND, "condition": "1 > 2"}, "c": MEND}, {"a": FIRST}, "a", FIRST),
        ({"a": GO_ON, "b": {}}, {"a": InvalidParameters("yours")}, "a", InvalidParameters),
        ({"a": {}, "b": MEND}, {"a": InvalidParameters("yours")}, "a", InvalidParameters),
    ],
)  # fmt: skip
async def test_every_other_failure_ends_the_run_after_the_steps_that_run_always(
    steps: Mapping[str, Mapping[str, Any]], failing: Mapping[str, Exception], ran: str, raised: object
) -> None:
    worker = Scripted(failing)
    with pytest.raises(SibylError) as caught:
        await run(steps, worker)
    assert worker.ran == list(ran)
    if isinstance(raised, SibylError):
        assert caught.value is raised
    elif isinstance(raised, type):
        assert isinstance(caught.value, raised)
    else:
        assert str(raised) in caught.value.message


async def test_a_failure_after_a_failure_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sibyl.pipeline"), pytest.raises(ProviderError, match="first"):
        await run({"a": {}, "b": ALWAYS}, Scripted({"a": FIRST, "b": SECOND}))
    assert caplog.messages == ["after a failure of pipeline p: second"]


async def test_a_deadline_that_has_passed_is_no_failure_to_go_on_from() -> None:
    now = 100.0
    deadline = Deadline.after(5, clock=lambda: now)

    class Slow(Scripted):
        async def run(self, context: StepContext, _: object) -> Mapping[str, Any]:
            nonlocal now
            now += 6
            return await super().run(context, _)

    worker = Slow({"a": FIRST})
    with pytest.raises(ProviderError, match="first"):
        await run({"a": GO_ON, "b": {}, "c": ALWAYS}, worker, deadline)
    assert worker.ran == ["a"]


async def test_a_step_that_takes_too_long_is_ended_and_its_timeout_named() -> None:
    class Hanging(Scripted):
        async def run(self, context: StepContext, _: object) -> Mapping[str, Any]:
            if context.step == "a":
                await asyncio.Event().wait()
            return await super().run(context, _)

    with pytest.raises(DeadlineExceeded) as caught:
        await run({"a": {"timeout_s": 0.05}, "b": {}}, Hanging({}), Deadline.after(30))
    assert caught.value.message == (
        "the deadline of 0.05 s passed in stage `retrieve` of step `a` of pipeline `p`; try again, or raise timeout_s "
        "of step `a`"
    )
    worker = Hanging({})
    result = await run({"a": {"timeout_s": 0.05, **GO_ON}, "b": {}}, worker, Deadline.after(30))
    assert worker.ran == ["b"]
    assert result.notes["a"]["fallbacks"][0]["reason"] == "deadline_exceeded"


async def test_a_step_gets_no_more_time_than_the_run_has_left() -> None:
    seen: dict[str, float | None] = {}

    class Looking(Scripted):
        async def run(self, context: StepContext, _: object) -> Mapping[str, Any]:
            seen[context.step] = context.deadline.remaining()
            return await super().run(context, _)

    steps = {"a": {"timeout_s": 3}, "b": {"timeout_s": 30}, "c": {}}
    await run(steps, Looking({}), Deadline.after(10, clock=lambda: 0.0))
    assert seen == {"a": 3, "b": 10, "c": 10}


async def stocked(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Pools hold connections.")
    await parts.ingest(tmp_path)


async def test_a_search_by_words_takes_the_place_of_one_by_vectors_that_failed(parts: Parts, tmp_path: Path) -> None:
    await stocked(parts, tmp_path)
    steps = [
        {"use": "rag.retrieval", "config": {"subtechnique": "vector"}},
        {"use": "rag.retrieval", "name": "words", "config": {"subtechnique": "keyword"}, "on_error": True},
        {"use": "ai_generation.generation"},
    ]
    parts.document = {"pipelines": {"search": {"steps": steps}}}
    parts.models = {"default": ScriptedModel()}
    calls = 0

    async def first_fails() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise DatabaseUnavailable("away")

    parts.store.before = first_fails
    result = await parts.run("search", query="pools")
    assert list(result.results) == ["words", "generation"]
    assert [source["document"] for source in result.results["generation"]["sources"]] == ["a.txt"]
    again = await parts.run("search", query="pools")
    assert list(again.results) == ["retrieval", "generation"]


async def test_without_an_answer_the_chunks_are_still_there(parts: Parts, tmp_path: Path) -> None:
    await stocked(parts, tmp_path)
    steps = [{"use": "rag.retrieval"}, {"use": "ai_generation.generation", "on_error": "continue"}]
    parts.document = {"pipelines": {"search": {"steps": steps}}}
    parts.models = {"default": ScriptedModel(answer=ProviderError("refused"))}
    outcome = outcome_of(await parts.run("search", query="pools"), cache="off")
    assert outcome.output["answer"] is None
    assert [source["document"] for source in outcome.output["sources"]] == ["a.txt"]
    assert outcome.steps["generation"] == {
        "fallbacks": [{"from": "generation", "to": None, "reason": "provider_error", "message": "refused"}]
    }
    assert outcome.cost_usd == 0.0


async def test_what_a_model_cost_that_was_waited_for_in_vain_is_not_known(parts: Parts, tmp_path: Path) -> None:
    await stocked(parts, tmp_path)
    generation = {"use": "ai_generation.generation", "on_error": "continue", "timeout_s": 0.3}
    parts.document = {
        "providers": {"llm": {"default": {"kind": "openai", "model": "m", "api_key": "k"}}},
        "pipelines": {"search": {"steps": [{"use": "rag.retrieval"}, generation]}},
    }

    async def forever() -> None:
        await asyncio.Event().wait()

    parts.models = {"default": ScriptedModel(answer=DeadlineExceeded("silent"))}
    said = outcome_of(await parts.run("search", query="pools"), cache="off")
    parts.models = {"default": ScriptedModel(before=forever)}
    cut = outcome_of(await parts.run("search", query="pools"), cache="off")
    assert [(one.cost_usd, one.output["answer"]) for one in (said, cut)] == [(None, None)] * 2


async def test_a_question_whose_search_failed_is_told_so_and_costs_nothing(parts: Parts, tmp_path: Path) -> None:
    await stocked(parts, tmp_path)

    async def broken() -> None:
        raise DatabaseUnavailable("gone")

    parts.embedder.before = broken
    model = ScriptedModel()
    parts.models = {"default": model}
    steps = [
        {"use": "rag.retrieval", "on_error": "continue"},
        {"use": "rag.reranking", "config": {"subtechnique": "bm25"}},
        {"use": "rag.augmentation"},
        {"use": "ai_generation.generation"},
    ]
    parts.document = {"pipelines": {"search": {"steps": steps}}}
    result = await parts.run("search", query="pools")
    outcome = outcome_of(result, cache="off")
    assert outcome.output == {"answer": NO_SEARCH, "sources": []}
    assert outcome.steps["retrieval"]["fallbacks"][0]["reason"] == "database_unavailable"
    assert outcome.steps["generation"]["unanswered"] == "not_searched"
    assert (result.reusable, outcome.cost_usd, model.requests) == (False, 0.0, [])


async def test_the_timeout_of_the_last_step_holds_for_the_ingest_that_it_drains(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Pools hold connections.")

    async def forever() -> None:
        await asyncio.Event().wait()

    parts.embedder.before = forever
    names = ("data.load_documents", "rag.chunking", "rag.embedding")
    steps = [*({"use": name} for name in names), {"use": "data.store_vectors", "timeout_s": 0.5}]
    parts.document = {"pipelines": {"ingest": {"steps": steps}}}
    with pytest.raises(DeadlineExceeded, match=r"of 0\.5 s passed in stage `embed` of step `embedding`") as caught:
        await parts.ingest(tmp_path)
    assert caught.value.message.endswith("try again, or raise timeout_s of step `store_vectors`")
