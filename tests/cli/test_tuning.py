"""Processors and garbage collection: what is asked for is what the process has, and what cannot be is told."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import typer

from sibyl_runtime.cli.tuning import Tuning, read_tuning
from tests.cli.conftest import Command
from tests.support.sibyl import serving

ALLOWED = sorted(os.sched_getaffinity(0))


@pytest.fixture
def as_before() -> Iterator[None]:
    """This process is put back."""
    threshold, cpus = gc.get_threshold(), os.sched_getaffinity(0)
    yield
    gc.set_threshold(*threshold)
    Tuning(frozenset(cpus)).apply()


def test_the_server_runs_where_and_as_it_is_told_with_all_its_threads_and_children(workspace: Path) -> None:
    first = ALLOWED[0]
    with serving(workspace, "--cpus", str(first), environ={"SIBYL_GC_THRESHOLD": "1000,15,15"}) as server:
        process = psutil.Process(server.process.pid)
        threads = [os.sched_getaffinity(thread.id) for thread in process.threads()]
        children = [os.sched_getaffinity(child.pid) for child in process.children()]
        assert server.ready["cpus"] == [first]
        assert server.ready["gc_threshold"] == [1000, 15, 15]
    assert len(threads) > 1
    assert children
    assert all(cpus == {first} for cpus in [*threads, *children])


@pytest.mark.usefixtures("as_before")
def test_a_threshold_is_in_force_at_once() -> None:
    tuning = read_tuning(None, "1000, 15,15")
    tuning.apply()
    assert gc.get_threshold() == (1000, 15, 15)
    assert tuning.told() == {"gc_threshold": [1000, 15, 15]}


@pytest.mark.usefixtures("as_before")
def test_threads_that_run_already_are_bound_too() -> None:
    bound: list[set[int]] = []
    started, looked = threading.Event(), threading.Event()

    def look() -> None:
        started.set()
        looked.wait(30)
        bound.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=look)
    thread.start()
    started.wait(30)
    read_tuning(str(ALLOWED[-1]), None).apply()
    looked.set()
    thread.join(30)
    assert bound == [{ALLOWED[-1]}]


def test_nothing_is_changed_or_told_where_nothing_is_asked_for() -> None:
    tuning = read_tuning(None, None)
    tuning.apply()
    assert tuning.told() == {}


def test_ranges_and_lists_of_processors_are_read() -> None:
    first, last = ALLOWED[0], ALLOWED[-1]
    if list(range(first, last + 1)) == ALLOWED:
        assert read_tuning(f"{first}-{last}", None).cpus == frozenset(ALLOWED)
    assert read_tuning(f"{first}, {last}", None).cpus == frozenset({first, last})


@pytest.mark.parametrize("text", ["", "x", "1-", "3-1", "0,,1", "-1", "0-3-5", "٣", "9999999999"])
def test_what_is_no_list_of_processors_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no list of processors, such as 0-3 or 0,2"):
        read_tuning(text, None)


def test_a_processor_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(typer.BadParameter) as refused:
        read_tuning("9000-9999", None)
    assert refused.value.message == (
        "this process may not run on 9000, 9001, 9002, 9003, 9004, 9005, 9006, 9007; "
        f"it may on {', '.join(map(str, ALLOWED))}"
    )


@pytest.mark.parametrize("text", ["", "1000", "1000,15", "0,15,15", "1000,15,15,15", "a,b,c", "-1,1,1", "1e3,15,15"])
def test_what_is_no_threshold_is_refused(text: str, command: Command) -> None:
    ended = command("serve", "-f", "x", "--gc-threshold", text)
    assert ended.code == 2
    assert f'"{text}" is not three whole numbers, the first above 0, such as 1000,15,15' in ended.stderr
