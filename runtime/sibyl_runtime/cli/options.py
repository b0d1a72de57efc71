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
DataDirectory = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Directory of the embedded database. [default: $SIBYL_DATA_DIR or ./.sibyl]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
