"""When a service warms its caches: faults and busy moments, which real parts do not produce on demand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from sibyl_runtime.errors import DatabaseUnavailable, ProviderError, SibylError
from sibyl_runtime.pipeline.asking import Answered, Ask
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.server.admission import ConcurrencyGate
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.server.instrumentation import metrics_for
from sibyl_runtime.server.warming import Pace, Warming, warming_of
from sibyl_runtime.workspace import parse_workspace
from tests.support.conditions import until

DOCUMENT = """
shops: {infrastructure: {config: {caching: {enabled: true}}}}
pipelines: {warm: {steps: [{use: infrastructure.cache_warming, config: {queries: [a, b]}}]}}
"""
NOTHING = {"computed": 0, "found": 0, "empty": 0, "unkept": 0, "failed": 0}
FAST = Pace(look=0.01, rounds=0.01, longest=0.02)
MADE = Answered("computed", tokens=5, cost_usd=0.25)


class Scripted:
    """A runtime whose rounds end as told: a number is how many questions failed."""

    def __init__(self, *rounds: int | Exception) -> None:
        self.workspace = parse_workspace(yaml.safe_load(DOCUMENT))
        self.rounds = list(rounds)
        self.begun = 0
        self.version = 1
        self.asked: list[str] = []

    async def corpus_version(self) -> int:
        return self.version

    async def ask(self, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> Answered:
        self.asked.append(arguments["query"])
        return MADE

    async def run_pipeline(
        self, pipeline: str, parameters: Mapping[str, Any], *, deadline: Deadline, ask: Ask | None = None
    ) -> PipelineResult:
        assert (pipeline, parameters) == ("warm", {})
        assert ask is not None
        self.begun += 1
        ending = self.rounds.pop(0) if self.rounds else 0
        await ask("search_documents", {"query": "a"}, deadline)
        if isinstance(ending, Exception):
            raise ending
        failures = [{"query": "b", "code": "overloaded", "message": "busy"}] * ending
        counts = {
            "computed": 2 - ending, "found": 0, "empty": 0, "unkept": 0, "failed": ending, "failures": failures,
        }  # fmt: skip
        return PipelineResult("warm", {"cache_warming": counts}, (), 0.1)


def warming(
    runtime: Scripted, gate: ConcurrencyGate | None = None, lifecycle: Lifecycle | None = None, pace: Pace = FAST
) -> Warming:
    found = warming_of(runtime, gate or ConcurrencyGate(8), lifecycle or Lifecycle(), _counts(runtime), pace)
    assert found is not None
    return found


async def test_a_round_that_fails_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    away = DatabaseUnavailable("the database is away")
    runtime = Scripted(away, away, away)
    found = warming(runtime)
    async with found.running():
        await until(lambda: found.told()["state"] == "failed")
        assert found.told()["error"] == "the database is away"
        await until(lambda: found.told()["state"] == "warm")
    assert runtime.begun == 4
    assert "error" not in found.told()
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["caches cannot be warmed, this is tried again: the database is away"]


async def test_a_fault_of_the_program_is_logged_and_does_not_end_the_warming(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Scripted(ZeroDivisionError("a fault"))
    found = warming(runtime)
    async with found.running():
        await until(lambda: found.told()["state"] == "failed")
        assert "ZeroDivisionError" not in found.told()["error"]
        await until(lambda: found.told()["state"] == "warm")
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.exc_info is not None


async def test_questions_that_failed_are_asked_again_and_told(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Scripted(1, 1)
    found = warming(runtime)
    async with found.running():
        await until(lambda: found.told().get("queries") == {**NOTHING, "computed": 2})
    assert runtime.begun == 3
    told = [vars(record)["fields"]["query"] for record in caplog.records if "could not be asked" in record.message]
    assert told == ["b", "b"]


async def test_a_corpus_that_stays_is_not_warmed_again() -> None:
    runtime = Scripted()
    found = warming(runtime)
    async with found.running():
        await until(lambda: found.told()["state"] == "warm")
        await asyncio.sleep(20 * FAST.rounds)
        assert runtime.begun == 1
        runtime.version = 2
        await until(lambda: found.told()["corpus_version"] == 2)
    assert runtime.begun == 2


class Whole(Scripted):
    """Runs the real step: its questions are answered as told, by question."""

    def __init__(self, document: str, answers: Mapping[str, Answered | SibylError]) -> None:
        super().__init__()
        self.workspace = parse_workspace(yaml.safe_load(document))
        self.answers = answers

    async def ask(self, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> Answered:
        self.asked.append(arguments["query"])
        answer = self.answers[arguments["query"]]
        if isinstance(answer, SibylError):
            raise answer
        return answer

    async def run_pipeline(
        self, pipeline: str, parameters: Mapping[str, Any], *, deadline: Deadline, ask: Ask | None = None
    ) -> PipelineResult:
        assert ask is not None
        results = {}
        for step in self.workspace.pipelines[pipeline].all_steps:
            counts: dict[str, Any] = {**NOTHING, "failures": []}
            for query in step.config["queries"]:
                try:
                    counts[(await ask("search_documents", {"query": query}, deadline)).outcome] += 1
                except SibylError as error:
                    counts["failed"] += 1
                    counts["failures"].append({"query": query, "code": error.code, "message": error.message})
            results[step.name] = counts
        return PipelineResult(pipeline, results, (), 0.1)


TWO = """
shops: {infrastructure: {config: {caching: {enabled: true}}}}
pipelines:
  one: {steps: [{use: infrastructure.cache_warming, config: {queries: [bad, good]}}]}
  two: {steps: [{use: infrastructure.cache_warming, config: {queries: [other]}}]}
"""
AWAY = ProviderError("the model is away")


async def test_what_fails_ends_nothing_else_and_alone_is_asked_again() -> None:
    runtime = Whole(TWO, {"bad": AWAY, "good": MADE, "other": MADE})
    counts = _counts(runtime)
    found = warming_of(runtime, ConcurrencyGate(8), Lifecycle(), counts, FAST)
    assert found is not None
    async with found.running():
        await until(lambda: runtime.asked.count("bad") == 3)
        assert found.told()["state"] in ("partly", "running")
    assert sorted(set(runtime.asked)) == ["bad", "good", "other"]
    assert (runtime.asked.count("good"), runtime.asked.count("other")) == (1, 1)
    assert counts is not None
    assert counts._queries.of("failed")._value.get() >= 2
    assert counts._cost._value.get() == 0.5


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({"bad": MADE, "good": Answered("found"), "other": Answered("empty")}, "warm"),
        ({"bad": Answered("unkept"), "good": MADE, "other": MADE}, "partly"),
        ({"bad": Answered("empty"), "good": Answered("empty"), "other": Answered("empty")}, "cold"),
        ({"bad": AWAY, "good": AWAY, "other": AWAY}, "failed"),
    ],
)
async def test_the_state_says_whether_the_caches_are_warm(answers: Mapping[str, Any], state: str) -> None:
    found = warming(Whole(TWO, answers), pace=Pace(look=0.2, rounds=0.2))
    async with found.running():
        await until(lambda: "queries" in found.told())
        assert found.told()["state"] == state


async def test_a_question_that_always_fails_does_not_keep_a_changed_corpus_waiting() -> None:
    runtime = Scripted(*[1] * 50)
    found = warming(runtime, pace=Pace(look=0.01, rounds=0.01, longest=3600))
    async with found.running():
        await until(lambda: runtime.begun == 8)  # the next pause is 1.28 s, and each later one twice as long
        begun = time.monotonic()
        for version in range(2, 7):
            runtime.version = version
            await until(lambda: found.told()["corpus_version"] == runtime.version)
    assert time.monotonic() - begun < 5


async def test_nothing_is_asked_while_users_take_the_places() -> None:
    runtime, gate = Scripted(), ConcurrencyGate(8)
    found = warming(runtime, gate)
    with contextlib.ExitStack() as users:
        for _ in range(2):
            users.enter_context(gate)
        async with found.running():
            await until(lambda: runtime.begun == 1)
            await asyncio.sleep(0.05)
            assert runtime.asked == []
            users.close()
            await until(lambda: runtime.asked == ["a"])


async def test_a_service_that_stops_asks_nothing_and_ends_at_once() -> None:
    runtime, lifecycle = Scripted(), Lifecycle(draining=True)
    async with asyncio.timeout(1):
        async with warming(runtime, lifecycle=lifecycle).running():
            await until(lambda: runtime.begun == 1)
            await asyncio.sleep(0.05)
    assert runtime.asked == []


async def test_a_workspace_that_warms_nothing_has_no_warming() -> None:
    runtime = Scripted()
    runtime.workspace = parse_workspace({})
    assert metrics_for(runtime.workspace).warming is None
    assert warming_of(runtime, ConcurrencyGate(8), Lifecycle(), None) is None


def _counts(runtime: Scripted) -> Any:
    return metrics_for(runtime.workspace).warming
