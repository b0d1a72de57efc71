"""`sibyl profile`: which functions a pipeline or a service under load spends its time in, or its memory."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sibyl_runtime.cli.attaching import Attaching, attach
from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.joining import joined
from sibyl_runtime.cli.output import plural, print_json, table
from sibyl_runtime.cli.profilers import Profile, check_output, watching_memory, watching_time
from sibyl_runtime.cli.run import reported, run_async
from sibyl_runtime.cli.service_load import LocalService, ServiceLoad, put_load
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.engine import invalid_arguments
from sibyl_runtime.runtime import Runtime
from sibyl_runtime.workspace import ArgumentsInvalid, validate_parameters

MEBIBYTE = 1 << 20
_NOTES = {
    "seconds": "TOTAL with what a function called, OWN without; the event loop's thread, waiting included. The model "
    "runs on a thread of its own.",
    "bytes": "OWN with what native code allocated for a function; TOTAL with the functions that it called too.",
}
OF_A_PROCESS = "TOTAL with what a function called, OWN without; all threads, most of their waiting left out."


@dataclass(frozen=True)
class PipelineRuns:
    """A pipeline, and how often it runs, one after the other."""

    pipeline: str
    parameters: Mapping[str, Any]
    times: int


@dataclass(frozen=True)
class ProfileOptions:
    """The command line of `sibyl profile`."""

    file: Path
    work: PipelineRuns | ServiceLoad
    memory: bool
    output: Path
    top: int
    data_directory: Path | None


@dataclass(frozen=True)
class ProcessOptions:
    """The command line of `sibyl profile --pid`."""

    work: Attaching
    output: Path
    top: int


@dataclass(frozen=True)
class Watched:
    """A profile, of what, and how long that took: in all, and of the processor's time, all threads together."""

    profile: Profile
    work: str
    elapsed_seconds: float
    processor_seconds: float


def profile(options: ProfileOptions, *, as_json: bool) -> None:
    """Work, watch, print. Ends the process with an ExitCode when it cannot."""
    watched = run_async(lambda: _profile(options))
    if as_json:
        shown = replace(watched.profile, functions=watched.profile.functions[: options.top])
        print_json({**vars(watched), "profile": shown, "flame_graph": options.output})
    else:
        print("\n".join(lines(watched, options.top, options.output)))


def lines(watched: Watched, top: int, output: Path) -> list[str]:
    """The table for people."""
    found = watched.profile
    head = f"{watched.work}   {watched.elapsed_seconds:.2f} s   {watched.processor_seconds:.2f} s of processor time"
    if found.kind == "bytes":
        head += f"   {found.amount / MEBIBYTE:.1f} MB held at the peak, of what was allocated meanwhile"
    return _told(head, found, top, output, _NOTES[found.kind])


def _told(head: str, found: Profile, top: int, output: Path, note: str) -> list[str]:
    rows = [("TOTAL", "OWN", "FUNCTION", "FILE")]
    for function in found.functions[:top]:
        place = f"{function.file}:{function.line}" if function.line else function.file
        rows.append((_amount(function.total, found.kind), _amount(function.own, found.kind), function.name, place))
    return [head, "", *table(rows), "", note, f"flame graph: {output}"]


def profile_process(options: ProcessOptions, *, as_json: bool) -> None:
    """Watch a process that runs, print. Ends this one with an ExitCode when it cannot."""
    with reported():
        check_output(options.output, memory=False)
        seen = attach(options.work, options.output)
        if as_json:
            shown = replace(seen.profile, functions=seen.profile.functions[: options.top])
            print_json({**vars(seen), "profile": shown, "flame_graph": options.output})
            return
        head = f"process {options.work.pid}   {seen.elapsed_seconds} s   {plural(seen.threads, 'thread')} at work"
        print("\n".join(_told(head, seen.profile, options.top, options.output, OF_A_PROCESS)))


async def _profile(options: ProfileOptions) -> Watched:
    check_output(options.output, memory=options.memory)
    watching = watching_memory if options.memory else watching_time
    with watching(options.output) as watch:
        async with _opened(options) as runtime:
            work = await _ready(runtime, options.work)
            started, used = time.perf_counter(), time.process_time()
            with watch.recorder:
                done = await work()
            elapsed, used = time.perf_counter() - started, time.process_time() - used
        return Watched(watch.told(), done, elapsed, used)


async def _ready(runtime: Runtime, work: PipelineRuns | ServiceLoad) -> Callable[[], Awaitable[str]]:
    """What is to be watched, checked and warm; awaited, it says what was done."""
    if isinstance(work, PipelineRuns):
        parameters = _checked(runtime, work)

        async def run() -> str:
            for _ in range(work.times):
                await runtime.run_pipeline(work.pipeline, parameters, deadline=Deadline.after(None))
            return f"{work.pipeline}, {plural(work.times, 'run')}"

        return run
    service = LocalService(runtime, work.tool)
    # Unwatched: the first question gets statements prepared and modules loaded.
    await service.ask(work.questions[0])

    async def load() -> str:
        answered = await put_load(service, work)
        return f"{work.tool}, {plural(work.clients, 'client')}, {plural(answered, 'answer')}"

    return load


def _checked(runtime: Runtime, runs: PipelineRuns) -> Mapping[str, Any]:
    # Both raise for a pipeline that is not there; this one names the others.
    runtime.engine.plan(runs.pipeline)
    try:
        return validate_parameters(runtime.workspace, runs.pipeline, runs.parameters)
    except ArgumentsInvalid as error:
        raise invalid_arguments(error) from error


@asynccontextmanager
async def _opened(options: ProfileOptions) -> AsyncIterator[Runtime]:
    settings = settings_for(options.data_directory)
    runtime = await Runtime.open(joined(read_document(options.file), settings, os.environ), os.environ, settings)
    try:
        yield runtime
    finally:
        await runtime.close()


def _amount(value: float, kind: str) -> str:
    return f"{value * 1000:.1f} ms" if kind == "seconds" else f"{value / MEBIBYTE:.2f} MB"
