"""`sibyl profile`: which functions a pipeline or a service under load spends its time in, or its memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.joining import joined
from sibyl_runtime.cli.output import plural, print_json, table
from sibyl_runtime.cli.profilers import Function, Profile, check_output, watching_memory, watching_time
from sibyl_runtime.cli.run import run_async
from sibyl_runtime.cli.service_load import LocalService, ServiceLoad, put_load
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.engine import invalid_arguments
from sibyl_runtime.runtime import Runtime
from sibyl_runtime.workspace import ArgumentsInvalid, validate_parameters

MEBIBYTE = 1 << 20


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


def profile(options: ProfileOptions, *, as_json: bool) -> None:
    """Work, watch, print. Ends the process with an ExitCode when it cannot."""
    profile, done = run_async(lambda: _profile(options))
    shown = profile.functions[: options.top]
    if as_json:
        print_json({"of": done, "kind": profile.kind, "elapsed_seconds": profile.elapsed_seconds,
                    "processor_seconds": profile.processor_seconds, "amount": profile.amount,
                    "functions": shown, "flame_graph": options.output})  # fmt: skip
    else:
        print("\n".join(lines(profile, done, shown, options.output)))


def lines(profile: Profile, done: str, shown: list[Function], output: Path) -> list[str]:
    """The table for people."""
    head = f"{done}   {profile.elapsed_seconds:.2f} s   {profile.processor_seconds:.2f} s of processor time"
    if profile.kind == "bytes":
        head += f"   {profile.amount / MEBIBYTE:.1f} MB held at the peak, of what was allocated meanwhile"
    rows = [("TOTAL", "OWN", "FUNCTION", "FILE")]
    for function in shown:
        place = f"{function.file}:{function.line}" if function.line else function.file
        rows.append((_amount(function.total, profile.kind), _amount(function.own, profile.kind), function.name, place))
    note = {
        "seconds": "TOTAL with what a function called, OWN without; the event loop's thread, waiting included. The "
        "model runs on a thread of its own.",
        "bytes": "OWN with what native code allocated for a function; TOTAL with the functions that it called too.",
    }[profile.kind]
    return [head, "", *table(rows), "", note, f"flame graph: {output}"]


async def _profile(options: ProfileOptions) -> tuple[Profile, str]:
    check_output(options.output, memory=options.memory)
    watching = watching_memory if options.memory else watching_time
    async with _opened(options) as runtime:
        match options.work:
            case PipelineRuns() as runs:
                parameters = _checked(runtime, runs)
                with watching(options.output) as profile:
                    for _ in range(runs.times):
                        await runtime.engine.run(runs.pipeline, parameters, deadline=Deadline.after(None))
                return profile, f"{runs.pipeline}, {plural(runs.times, 'run')}"
            case load:
                service = LocalService(runtime, load.tool)
                # Unwatched: statements get prepared and modules loaded by the first one.
                await service.ask(load.questions[0])
                with watching(options.output) as profile:
                    answered = await put_load(service, load)
                return profile, f"{load.tool}, {plural(load.clients, 'client')}, {plural(answered, 'answer')}"


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
