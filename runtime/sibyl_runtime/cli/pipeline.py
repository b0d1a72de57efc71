"""`sibyl pipeline list` and `sibyl pipeline run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sibyl_runtime.cli.arguments import name_values
from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.cli.ingest import progress_shown
from sibyl_runtime.cli.output import plural, print_json, table
from sibyl_runtime.cli.run import reported, run_async
from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.workspace import (
    ArgumentsInvalid,
    Pipeline,
    Workspace,
    parse_workspace,
    validate_parameters,
    warming_pipelines,
)

SHOWN_VALUE = 200
"""Characters of a value that are shown to people; --json shows all."""


def list_pipelines(file: Path, *, as_json: bool) -> None:
    """Print the pipelines of a workspace."""
    with reported():
        source = read_document(file)
        workspace = parse_workspace(source.raw, source=source.source, lines=source.lines)
        described = [describe(name, pipeline) for name, pipeline in sorted(workspace.effective_pipelines.items())]
        if as_json:
            print_json(described)
            return
        rows = [(each["name"], " → ".join(each["steps"]), ", ".join(each["parameters"])) for each in described]
        print("\n".join(table([("PIPELINE", "STEPS", "PARAMETERS"), *rows])))


def describe(name: str, pipeline: Pipeline) -> dict[str, Any]:
    """A pipeline in few words."""
    return {
        "name": name,
        "description": pipeline.description,
        "steps": [" + ".join(use.use for use in step.uses) for step in pipeline.steps],
        "parameters": sorted(pipeline.parameters),
    }


def run_pipeline(
    file: Path, name: str, given: Sequence[str], *, timeout: float | None, data_directory: Path | None, as_json: bool
) -> None:
    """Run a pipeline and print what its steps returned."""
    parameters = name_values(given, option="--param")
    result = run_async(lambda: _run(file, name, parameters, timeout, data_directory))
    if as_json:
        stages = [
            {"step": timing.step, "stage": timing.stage, "seconds": timing.seconds, "skipped": timing.skipped}
            for timing in result.stages
        ]
        print_json({"pipeline": name, "results": result.results, "stages": stages, "seconds": result.seconds})
    else:
        print("\n".join(result_lines(result)))
    _end_warming(result)


def _end_warming(result: PipelineResult) -> None:
    """Name the questions that could not be asked ahead, for whoever runs this as a job. Ends the process then."""
    steps = [step for step in result.results.values() if {"failed", "failures"} <= step.keys() and step["failed"]]
    for step in steps:
        for failure in step["failures"]:
            print(f"failed {failure['query']!r}: {failure['message']}", file=sys.stderr)
        if (more := step["failed"] - len(step["failures"])) > 0:
            print(f"and {more:,} more", file=sys.stderr)
    if steps:
        all_failed = all(step["failed"] == step["queries"] for step in steps)
        raise SystemExit(ExitCode.UNAVAILABLE if all_failed else ExitCode.PARTIAL)


def result_lines(result: PipelineResult) -> list[str]:
    """Each step with its time and what it returned, long values in short."""
    lines: list[str] = []
    for step in dict.fromkeys(timing.step for timing in result.stages):
        timings = [timing for timing in result.stages if timing.step == step]
        if any(timing.skipped for timing in timings):
            lines.append(f"{step}  skipped: its condition is false, or nothing failed that it could mend")
            continue
        spent = sum(timing.seconds for timing in timings)
        lines.append(f"{step}  {spent * 1000:.1f} ms")
        lines += [f"  {key}: {_short(value)}" for key, value in result.results.get(step, {}).items()]
    for name in result.results.keys() - {timing.step for timing in result.stages}:
        lines.append(f"{name}  gathered")
        lines += [f"  {key}: {_short(value)}" for key, value in result.results[name].items()]
    return [*lines, f"total {result.seconds * 1000:.1f} ms"]


async def _run(
    file: Path, name: str, parameters: Mapping[str, Any], timeout: float | None, data_directory: Path | None
) -> PipelineResult:
    from sibyl_runtime.cli.joining import joined
    from sibyl_runtime.runtime import Runtime

    settings = settings_for(data_directory)
    source = read_document(file)
    _check_warming(parse_workspace(source.raw, source=source.source, lines=source.lines, environ=os.environ), name)
    runtime = await Runtime.open(joined(source, settings, os.environ), os.environ, settings)
    try:
        if name in runtime.workspace.effective_pipelines:
            parameters = _checked(runtime.workspace, name, parameters)
        with progress_shown() as progress:
            return await runtime.run_pipeline(name, parameters, deadline=Deadline.after(timeout), progress=progress)
    finally:
        await runtime.close()


def _check_warming(workspace: Workspace, name: str) -> None:
    """Raises InvalidParameters for a pipeline that would warm the memory of this command, which ends with it."""
    caching = workspace.caching
    if name in warming_pipelines(workspace) and caching.redis_level is None and caching.disk_level is None:
        raise InvalidParameters(
            f'pipeline "{name}" warms caches that end with this command: they are in the memory of a process; '
            "`sibyl serve` warms its own when it starts and when documents change; for this command, add the level "
            "redis or disk under shops.infrastructure.config.caching"
        )


def _checked(workspace: Workspace, name: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return validate_parameters(workspace, name, parameters)
    except ArgumentsInvalid as error:
        raise InvalidParameters(str(error)) from error


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return plural(len(value), "item")
    text = str(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[: SHOWN_VALUE - 1]}…"
