"""The commands that measure: `sibyl eval`, `sibyl profile`. As in `app`, weight is imported when they run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from sibyl_runtime.cli.options import (
    ApiKey,
    ApiKeyHeader,
    DataDirectory,
    Json,
    OptionalWorkspaceFile,
    ServerUrl,
    refuse_idle_beside_server,
)

_Cutoffs = Annotated[
    list[int] | None,
    typer.Option(
        "--cutoff", "-k", min=1, help="The k of ndcg@k and recall@k; may be repeated. [default: 10]", show_default=False
    ),
]
_Clients = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Who ask at once. [default: 8]", show_default=False)
]
_Seconds = Annotated[
    float | None,
    typer.Option(min=0.1, max=86_400, help="How long they ask, or it is watched. [default: 10]", show_default=False),
]
_ProcessId = Annotated[
    int | None,
    typer.Option("--pid", min=1, help="Watch this process, such as a running `sibyl serve`.", show_default=False),
]


def evaluate(
    context: typer.Context,
    questions: Annotated[
        Path,
        typer.Argument(help="Judged questions, JSON lines: question, relevant, and an id if you like."),
    ],
    file: OptionalWorkspaceFile = None,
    server: ServerUrl = None,
    compare: Annotated[
        str | None,
        typer.Option(help="Workspace document or address of a second configuration, asked the same questions."),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Judgements in a file of their own, as BEIR and TREC have them.")
    ] = None,
    tool: Annotated[str, typer.Option(help="The tool to call; it must take a parameter `query`.")] = "search_documents",
    top_k: Annotated[
        int | None, typer.Option(min=1, help="How many chunks to find. [default: the tool's]", show_default=False)
    ] = None,
    cutoff: _Cutoffs = None,
    fail_below: Annotated[
        list[str] | None,
        typer.Option(metavar="MEASURE=NUMBER", help="End with 5 when a measure is lower, such as ndcg@10=0.4."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws that the intervals are made of.")] = 0,
    resamples: Annotated[int, typer.Option(min=100, max=1_000_000, help="How many draws.")] = 10_000,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds to allow a question. [default: mcp.timeout]")
    ] = None,
    api_key: ApiKey = None,
    api_key_header: ApiKeyHeader = "X-API-Key",
    data_dir: DataDirectory = None,
    json: Json = False,
) -> None:
    """Measure how well judged questions are answered, by a workspace or by a running server.

    Prints ndcg, recall, mrr and the times, each with the interval in which it may lie. With --compare, also how two
    configurations differ, question by question, and whether that is more than chance.
    """
    from sibyl_runtime.cli import evaluation as command
    from sibyl_runtime.cli.asking import Asking
    from sibyl_runtime.evaluation import Bootstrap

    targets = command.targets(file, server, compare, api_key=api_key, api_key_header=api_key_header)
    if server is not None:
        refuse_idle_beside_server(context, "file", *(["data_dir"] if compare is None else []))
    cutoffs = cutoff or [10]
    options = command.Options(
        questions=questions,
        qrels=qrels,
        targets=targets,
        asking=Asking(tool, top_k, timeout, data_dir),
        cutoffs=cutoffs,
        least=command.required(fail_below or [], cutoffs),
        method=Bootstrap(resamples, seed),
    )
    command.evaluate(options, as_json=json)


def profile(
    file: OptionalWorkspaceFile = None,
    pid: _ProcessId = None,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Watch runs of this pipeline.", show_default=False)
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A parameter of the pipeline; may be repeated."),
    ] = None,
    repeat: Annotated[
        int | None, typer.Option(min=1, help="Runs of the pipeline. [default: 1]", show_default=False)
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option("--question", "-q", help="Watch the service while it is asked this; may be repeated."),
    ] = None,
    tool: Annotated[
        str | None, typer.Option(help="The tool that is asked. [default: search_documents]", show_default=False)
    ] = None,
    clients: _Clients = None,
    seconds: _Seconds = None,
    memory: Annotated[bool, typer.Option("--memory", help="Watch memory instead of time.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The flame graph: .html, or .json for speedscope (time only).")
    ] = Path("profile.html"),
    top: Annotated[int, typer.Option(min=1, help="Functions to print.")] = 20,
    data_dir: DataDirectory = None,
    json: Json = False,
) -> None:
    """Show which functions take the time, or the memory, of a pipeline, of the service under load, or of a process.

    Prints those that take most, and writes a flame graph. Needs the extra `profile`.
    """
    from sibyl_runtime.cli import profile as command
    from sibyl_runtime.cli.arguments import name_values
    from sibyl_runtime.cli.service_load import ServiceLoad

    if sum((pid is not None, pipeline is not None, bool(question))) != 1:
        raise typer.BadParameter("give one of them", param_hint="--pipeline / --question / --pid")
    if pid is not None:
        unused: dict[str, object] = {"--param": param, "--repeat": repeat, "--tool": tool, "--clients": clients}
        _refuse({**unused, "--memory": memory, "--data-dir": data_dir}, "--pid")
        _profile_process(pid, seconds, output, top, as_json=json)
        return
    if file is None:
        raise typer.BadParameter("is missing; --pid alone needs none", param_hint="--file")
    idle: dict[str, object] = {"--tool": tool, "--clients": clients, "--seconds": seconds}
    if pipeline is None:
        idle = {"--param": param, "--repeat": repeat}
    _refuse(idle, "--question" if pipeline is None else "--pipeline")
    work: command.PipelineRuns | ServiceLoad
    if pipeline is not None:
        work = command.PipelineRuns(pipeline, name_values(param or [], option="--param"), repeat or 1)
    else:
        work = ServiceLoad(tool or "search_documents", question or [], clients or 8, seconds or 10.0)
    command.profile(command.ProfileOptions(file, work, memory, output, top, data_dir), as_json=json)


def _profile_process(pid: int, seconds: float | None, output: Path, top: int, *, as_json: bool) -> None:
    from sibyl_runtime.cli import profile as command
    from sibyl_runtime.cli.attaching import Attaching

    if seconds is not None and (seconds < 1 or seconds != int(seconds)):
        raise typer.BadParameter(f"must be a whole number with --pid, found {seconds:g}", param_hint="--seconds")
    watched = Attaching(pid, int(seconds or 10))
    command.profile_process(command.ProcessOptions(watched, output, top), as_json=as_json)


def _refuse(idle: Mapping[str, object], kind: str) -> None:
    """Options that would do nothing here."""
    for option, value in idle.items():
        if value:
            raise typer.BadParameter(f"has no effect with {kind}", param_hint=option)
