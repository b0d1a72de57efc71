"""When a service warms its caches: faults and busy moments, which real parts do not produce on demand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from sibyl_runtime.errors import DatabaseUnavailable
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
FAST = Pace(look=0.01, rounds=0.01, longest=0.02)
MADE = Answered(found=False, empty=False, tokens=0, cost_usd=0.0)


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
        assert deadline.seconds == self.workspace.mcp.timeout
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
        counts = {"computed": 2 - ending, "found": 0, "empty": 0, "failed": ending, "failures": failures}
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
        await until(lambda: found.told().get("queries") == {"computed": 2, "found": 0, "empty": 0, "failed": 0})
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
