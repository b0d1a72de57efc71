"""What is read at each scrape."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from sibyl_runtime.kpi import TaskCollector
from tests.support.conditions import until


async def test_tasks_are_counted_until_they_end() -> None:
    registry = CollectorRegistry()
    registry.register(TaskCollector())

    def tasks() -> float | None:
        return registry.get_sample_value("sibyl_event_loop_tasks")

    before = tasks()
    end = asyncio.Event()
    waiting = [asyncio.create_task(end.wait()) for _ in range(3)]
    assert before is not None
    assert tasks() == before + len(waiting)
    end.set()
    await until(lambda: tasks() == before)


def test_without_an_event_loop_there_is_no_number_of_tasks() -> None:
    assert list(TaskCollector().collect()) == []
