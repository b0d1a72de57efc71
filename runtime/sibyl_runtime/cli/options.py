"""Options that several commands share, so that they are spelt alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceFile = Annotated[
    Path,
    typer.Option(
        "--file",
        "-f",
        "--workspace",
        "-w",
        envvar="SIBYL_WORKSPACE_FILE",
        help="Workspace document, bare or as a SibylWorkspace resource.",
        show_default=False,
    ),
]
OptionalWorkspaceFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        "--workspace",
        "-w",
        envvar="SIBYL_WORKSPACE_FILE",
        help="Workspace document: work here, without a server.",
        show_default=False,
    ),
]
ServerUrl = Annotated[
    str | None,
    typer.Option("--server", "--url", help="Address of a running server, in place of --file.", show_default=False),
]
ApiKey = Annotated[str | None, typer.Option(envvar="SIBYL_API_KEY", help="API key of that server.", show_default=False)]
ApiKeyHeader = Annotated[str, typer.Option(help="Header that carries the key.")]
DataDirectory = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Directory of the embedded database. [default: $SIBYL_DATA_DIR or ./.sibyl]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def refuse_idle_beside_server(context: typer.Context, *names: str) -> None:
    """Of the command that runs, the parameters that only mean something without --server. Raises BadParameter.

    One that the environment gives is a default and may stand: $SIBYL_WORKSPACE_FILE is set for all commands of a shell.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter("has no effect with --server; give one of them", param_hint=parameter.opts[0])
