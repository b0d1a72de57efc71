"""What an ingest by request needs: a pipeline that fits, its turn, and the index looked after aside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sibyl_runtime.errors import DatabaseUnavailable, Overloaded, SibylError
from sibyl_runtime.ingestion import IndexCare, loading_settings, receiving_parameters, turn
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.workspace import Workspace, parse_workspace

STEPS: list[dict[str, Any]] = [
    {"use": "data.load_documents", "config": {"path": "${path}"}},
    {"use": "rag.chunking"},
    {"use": "rag.embedding"},
    {"use": "data.store_vectors"},
]


def workspace(**pipelines: Any) -> Workspace:
    return parse_workspace({"name": "docs", "pipelines": pipelines}, environ={})


def test_the_built_in_pipeline_takes_documents() -> None:
    assert receiving_parameters(workspace(), "ingest", "handbook") == {}


def test_a_path_that_a_pipeline_requires_is_the_name_of_the_source() -> None:
    pipeline = {"steps": STEPS, "parameters": {"path": {"type": "string", "required": True}}}
    assert receiving_parameters(workspace(nightly=pipeline), "nightly", "handbook") == {"path": "handbook"}


MISFITS: list[tuple[str, dict[str, Any], str]] = [
    (
        "search",
        {},
        "pipeline: `search` has 0 steps data.load_documents; a pipeline that takes documents has exactly one",
    ),
    (
        "short",
        {"short": {"steps": STEPS[:2]}},
        "pipeline: `short` has 0 steps data.store_vectors; a pipeline that takes documents has exactly one",
    ),
    (
        "twice",
        {"twice": {"steps": [{**STEPS[0], "name": "more"}, *STEPS]}},
        "pipeline: `twice` has 2 steps data.load_documents; a pipeline that takes documents has exactly one",
    ),
    (
        "team",
        {
            "team": {
                "steps": [{"use": "data.load_documents", "config": {"pattern": "${team}"}}, *STEPS[1:]],
                "parameters": {"team": {"type": "string", "required": True}},
            }
        },
        "team: is required; give text",
    ),
    ("nope", {}, "there is no pipeline `nope`; known: ingest, search"),
]


@pytest.mark.parametrize(("name", "pipelines", "message"), MISFITS, ids=[name for name, _, _ in MISFITS])
def test_a_pipeline_that_cannot_take_documents_is_refused(name: str, pipelines: dict[str, Any], message: str) -> None:
    with pytest.raises(SibylError) as refused:
        receiving_parameters(workspace(**pipelines), name, "handbook")
    assert refused.value.message == message
    with pytest.raises(SibylError):
        loading_settings(workspace(**pipelines), name)


def test_the_settings_of_the_loading_step_are_merged_as_in_a_run() -> None:
    loading = {"use": "data.load_documents", "config": {"pattern": "${pattern}"}}
    pipeline = {"steps": [loading, *STEPS[1:]], "parameters": {"pattern": {"type": "string", "default": "*.md"}}}
    assert loading_settings(workspace(ingest=pipeline), "ingest").pattern == "*.md"


async def test_a_turn_that_does_not_come_in_time_is_refused_before_anything_began() -> None:
    lock = asyncio.Lock()
    async with turn(lock, Deadline.after(5)):
        with pytest.raises(Overloaded, match="Another ingest is under way"):
            async with turn(lock, Deadline.after(0.01)):
                raise AssertionError("it is not its turn")
    assert not lock.locked()


async def test_a_failure_gives_the_turn_back() -> None:
    lock = asyncio.Lock()
    with pytest.raises(ZeroDivisionError):
        async with turn(lock, Deadline.after(None)):
            raise ZeroDivisionError
    assert not lock.locked()


class Builds:
    """Index builds that wait to be let go."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.begun = 0
        self.gate = asyncio.Semaphore(0)
        self.ended = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        try:
            await self.gate.acquire()
        finally:
            self.ended.set()
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault


async def until(care: IndexCare) -> None:
    task = care._task
    assert task is not None
    await asyncio.wait_for(asyncio.shield(task), 5)


async def test_however_often_it_is_asked_during_a_build_one_more_follows() -> None:
    builds = Builds()
    care = IndexCare(builds)
    care.ask()
    await asyncio.sleep(0)
    for _ in range(5):
        care.ask()
    builds.gate.release()
    builds.gate.release()
    await until(care)
    assert builds.begun == 2


async def test_a_build_that_fails_is_logged_and_the_next_change_asks_again(caplog: pytest.LogCaptureFixture) -> None:
    builds = Builds(DatabaseUnavailable("gone"))
    care = IndexCare(builds)
    for expected in (1, 2):
        care.ask()
        builds.gate.release()
        await until(care)
        assert builds.begun == expected
    assert [record.message for record in caplog.records] == ["the index could not be seen to"]


async def test_closing_breaks_a_build_off() -> None:
    builds = Builds()
    care = IndexCare(builds)
    await care.close()
    care.ask()
    await asyncio.sleep(0)
    await care.close()
    assert builds.ended.is_set()
