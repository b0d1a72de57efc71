"""The tree of commands. Each command lives in a module of its own and is imported only when it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sibyl_runtime import __version__
from sibyl_runtime.cli.exit_codes import EPILOG
from sibyl_runtime.cli.measuring import evaluate, profile
from sibyl_runtime.cli.options import (
    ApiKey,
    ApiKeyHeader,
    DataDirectory,
    Json,
    OptionalWorkspaceFile,
    ServerUrl,
    WorkspaceFile,
    refuse_idle_beside_server,
)

app = typer.Typer(
    name="sibyl",
    help="Answers from your documents: serve, load and question a workspace.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
workspace_commands = typer.Typer(help="Look at a workspace document.", no_args_is_help=True)
pipeline_commands = typer.Typer(help="List and run the pipelines of a workspace.", no_args_is_help=True)
app.add_typer(workspace_commands, name="workspace")
app.add_typer(pipeline_commands, name="pipeline")
key_commands = typer.Typer(help="Make API keys for mcp.authentication.", no_args_is_help=True)
app.add_typer(key_commands, name="key")
model_commands = typer.Typer(help="Convert and measure embedding models.", no_args_is_help=True)
app.add_typer(model_commands, name="model")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sibyl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def serve(
    file: WorkspaceFile,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: mcp.host]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the API. [default: mcp.port]")] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of /metrics. [default: observability.metrics.port]"),
    ] = None,
    data_dir: DataDirectory = None,
    drain_seconds: Annotated[
        float,
        typer.Option(
            min=0, max=300, envvar="SIBYL_DRAIN_SECONDS",
            help="Go on taking requests for so long after the signal to stop, while load balancers learn of it.",
        ),
    ] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="Log JSON, whatever the workspace says.")] = False,
    cpus: Annotated[
        str | None,
        typer.Option(envvar="SIBYL_CPUS", help="Processors to run on, such as 0-3. [default: all]", show_default=False),
    ] = None,
    gc_threshold: Annotated[
        str | None,
        typer.Option(
            envvar="SIBYL_GC_THRESHOLD", show_default=False,
            help="When Python collects garbage, such as 1000,15,15. [default: Python's own]",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Serve a workspace over HTTP.

    Runs until SIGTERM or Ctrl-C, then answers what it has begun. A second signal ends the wait.
    """
    from sibyl_runtime.cli import serve as command

    options = command.ServeOptions(
        file=file, host=host, port=port, metrics_port=metrics_port, data_directory=data_dir,
        drain_seconds=drain_seconds, json_logs=json, cpus=cpus, gc_threshold=gc_threshold,
    )  # fmt: skip
    command.serve(options)


@app.command()
def mcp(file: WorkspaceFile, data_dir: DataDirectory = None) -> None:
    """Serve the tools of a workspace over stdin and stdout, to the MCP client that starts this command.

    Runs until the client closes stdin. Log lines go to stderr.
    """
    from sibyl_runtime.cli import mcp as command

    command.mcp(file, data_directory=data_dir)


@app.command()
def ingest(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(help="File or directory. [default: the path that the pipeline names]", show_default=False),
    ] = None,
    file: OptionalWorkspaceFile = None,
    server: ServerUrl = None,
    api_key: ApiKey = None,
    api_key_header: ApiKeyHeader = "X-API-Key",
    source: Annotated[
        str | None,
        typer.Option(help="Name of this set of documents on the server. [default: the absolute path]"),
    ] = None,
    pipeline: Annotated[str, typer.Option(help="The pipeline that reads, cuts, embeds and stores.")] = "ingest",
    data_dir: DataDirectory = None,
    json: Json = False,
) -> None:
    """Load documents into the collection, of a workspace or of a running server.

    New and changed documents are embedded, unchanged ones cost nothing, removed ones disappear.
    """
    from sibyl_runtime.cli import ingest as command
    from sibyl_runtime.cli.service import Service

    if server is not None:
        refuse_idle_beside_server(context, "file", "data_dir")
        if path is None:
            raise typer.BadParameter("give the file or directory to send", param_hint="PATH")
        service = Service(server, api_key, api_key_header)
        command.send(service, path, pipeline=pipeline, source=source, as_json=json)
    if file is None:
        raise typer.BadParameter("give one of them", param_hint="--file / --server")
    if source is not None:
        raise typer.BadParameter(
            "is for --server; here, set `source` in the config of the step data.load_documents", param_hint="--source"
        )
    command.ingest(file, path, pipeline=pipeline, data_directory=data_dir, as_json=json)


@app.command()
def forget(
    file: WorkspaceFile,
    source: Annotated[
        str,
        typer.Argument(help="Folder or file as it was loaded, or the `source` of the load.", show_default=False),
    ],
    data_dir: DataDirectory = None,
    json: Json = False,
) -> None:
    """Remove all documents of one source from the collection.

    For a folder that was loaded once and is gone, or has another path now.
    """
    from sibyl_runtime.cli import forget as command

    command.forget(file, source, data_directory=data_dir, as_json=json)


@app.command()
def query(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="The question.", show_default=False)],
    file: OptionalWorkspaceFile = None,
    url: ServerUrl = None,
    api_key: ApiKey = None,
    api_key_header: ApiKeyHeader = "X-API-Key",
    tool: Annotated[str, typer.Option(help="The tool to call; it must take a parameter `query`.")] = "search_documents",
    top_k: Annotated[int | None, typer.Option(min=1, help="How many chunks to find.", show_default=False)] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="Metadata that chunks must have; may be repeated."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait. [default: mcp.timeout]")] = None,
    data_dir: DataDirectory = None,
    json: Json = False,
) -> None:
    """Ask a question, of a workspace or of a running server.

    Prints the answer, its sources with their scores, and where the time went.
    """
    from sibyl_runtime.cli import query as command

    if file is None and url is None:
        raise typer.BadParameter("give one of them", param_hint="--file / --server")
    if url is not None:
        refuse_idle_beside_server(context, "file", "data_dir")
    target = command.Target(
        file=file, url=url, api_key=api_key, api_key_header=api_key_header, timeout=timeout, data_directory=data_dir
    )
    command.query(target, tool, question, top_k=top_k, filters=filter_ or [], as_json=json)


app.command("eval")(evaluate)
app.command()(profile)


@pipeline_commands.command("list")
def list_pipelines(file: WorkspaceFile, json: Json = False) -> None:
    """List the pipelines of a workspace, built-in ones included."""
    from sibyl_runtime.cli import pipeline as command

    command.list_pipelines(file, as_json=json)


@pipeline_commands.command("run")
def run_pipeline(
    file: WorkspaceFile,
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Which one.", show_default=False)],
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A parameter; JSON where it can be read as JSON. May be repeated."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Seconds to allow. [default: no limit]")] = None,
    data_dir: DataDirectory = None,
    json: Json = False,
) -> None:
    """Run one pipeline and print what each step returned."""
    from sibyl_runtime.cli import pipeline as command

    command.run_pipeline(file, pipeline, param or [], timeout=timeout, data_directory=data_dir, as_json=json)


_AnyFile = Annotated[Path | None, typer.Argument(help="The workspace document.", show_default=False)]
_AnyFileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", "--workspace", "-w", envvar="SIBYL_WORKSPACE_FILE", help="The same, as an option."),
]


@workspace_commands.command()
def validate(path: _AnyFile = None, file: _AnyFileOption = None, json: Json = False) -> None:
    """Check a document and print every problem.

    References to the environment are left as they are: their values are not needed.
    """
    from sibyl_runtime.cli import workspace as command

    command.validate(_one_of(path, file), as_json=json)


@workspace_commands.command()
def show(path: _AnyFile = None, file: _AnyFileOption = None, json: Json = False) -> None:
    """Print what a document means, and its hash.

    Built-in pipelines and tools are filled in, secrets are redacted.
    """
    from sibyl_runtime.cli import workspace as command

    command.show(_one_of(path, file), as_json=json)


_KeyName = Annotated[str | None, typer.Option(help="Name of its holder: one word.", show_default=False)]


@key_commands.command("new")
def new_key(name: _KeyName = None, json: Json = False) -> None:
    """Make a key, and print it with its digest.

    The digest goes into the document or its keys_file, the key to whoever calls. It is kept nowhere.
    """
    from sibyl_runtime.cli import key as command

    command.new(name, as_json=json)


@key_commands.command("hash")
def hash_key(name: _KeyName = None, json: Json = False) -> None:
    """Print the digest of the key on standard input."""
    from sibyl_runtime.cli import key as command

    command.hash_key(name, as_json=json)


class Precision(StrEnum):
    """Arithmetic of a graph."""

    INT8 = "int8"
    FP32 = "fp32"


_Precisions = Annotated[
    list[Precision] | None, typer.Option("--precision", help="Which; may be repeated. [default: both]")
]


@model_commands.command("export")
def export_model(
    model: Annotated[str, typer.Argument(help="Name of the model, or path of its directory.", show_default=False)],
    directory: Annotated[Path, typer.Argument(help="Directory to make; its name is the model's.", show_default=False)],
    precision: _Precisions = None,
    json: Json = False,
) -> None:
    """Convert a sentence-transformers model to a directory that the runtime serves as it is.

    Compares the vectors of each graph with those of the weights, and writes nothing when they differ. Needs the extra
    `convert`.
    """
    from sibyl_runtime.cli import model as command

    command.export(model, directory, [one.value for one in precision or []], as_json=json)


@model_commands.command("bench")
def bench_model(
    model: Annotated[str, typer.Argument(help="Name of the model, or path of its directory.", show_default=False)],
    precision: _Precisions = None,
    texts: Annotated[int, typer.Option(min=8, max=10_000, help="Documents to embed.")] = 64,
    json: Json = False,
) -> None:
    """Time a model on this machine: start, queries, documents, peak memory."""
    from sibyl_runtime.cli import model as command

    command.bench(model, [one.value for one in precision or []], texts, as_json=json)


def _one_of(path: Path | None, file: Path | None) -> Path:
    # An argument wins over $SIBYL_WORKSPACE_FILE, which arrives as the option.
    chosen = path or file
    if chosen is None:
        raise typer.BadParameter("give the workspace document", param_hint="FILE")
    return chosen
