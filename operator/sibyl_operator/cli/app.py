"""The tree of commands: run the operator, and print what it would write, without a cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sibyl_operator import __version__

USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    name="sibyl-operator",
    help="Runs RAG services in Kubernetes: one SibylWorkspace each.",
    epilog=(
        "Exit codes: 0 done · 1 invalid resource, a failed check, or the operator failed · 2 wrong usage · "
        "3 no API server · 4 leadership lost · 5 port taken · 130 interrupted"
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", "-n", help="Namespace to serve; may be repeated. [default: all]", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")]


def run_command_line() -> None:
    """Run the command line; the process ends with an exit code."""
    try:
        app()
    except KeyboardInterrupt:
        print("sibyl-operator: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sibyl-operator {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def run(
    namespace: Namespaces = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="[default: $KUBECONFIG, the pod's service account, ~/.kube/config]")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Workspaces reconciled at the same time. [default: 16]")] = None,
    leader_elect: Annotated[
        bool | None,
        typer.Option("--leader-elect/--no-leader-elect", help="Work only while holding the Lease. [default: on]"),
    ] = None,
    lease_namespace: Annotated[
        str | None, typer.Option(help="Namespace of the Lease. [default: the pod's own]", show_default=False)
    ] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Port of /healthz, /readyz and /metrics. [default: 8080]")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR. [default: INFO]")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or text. [default: json]")] = None,
) -> None:
    """Run the operator until a signal. Every setting is also read from SIBYL_OPERATOR_<NAME>; an option wins."""
    from sibyl_operator.process import Settings, SettingsError
    from sibyl_operator.process import run as run_operator

    try:
        settings = Settings.from_environment(
            os.environ,
            namespaces=tuple(namespace) if namespace else None,
            kubeconfig=None if kubeconfig is None else str(kubeconfig),
            workers=workers,
            leader_elect=leader_elect,
            lease_namespace=lease_namespace,
            http_port=http_port,
            log_level=None if log_level is None else log_level.upper(),
            log_format=log_format,
        )
    except SettingsError as error:
        print(f"sibyl-operator: {error}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    raise SystemExit(run_operator(settings))


@app.command()
def crd(json: Json = False) -> None:
    """Print the CustomResourceDefinition."""
    from sibyl_operator.cli import printing

    printing.print_crd(as_json=json)


@app.command()
def render(
    file: Annotated[Path, typer.Option("--file", "-f", help="File with a SibylWorkspace.", show_default=False)],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace, where the file names none. [default: default]")
    ] = None,
    json: Json = False,
) -> None:
    """Print every object that the operator would make for a workspace; needs no cluster, changes nothing."""
    from sibyl_operator.cli import printing

    printing.print_children(file, namespace=namespace, as_json=json)


@app.command()
def check(
    url: Annotated[str, typer.Option(help="Address of the operator's /readyz and /metrics.", show_default=False)],
    namespace: Namespaces = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="[default: $KUBECONFIG, the pod's service account, ~/.kube/config]")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for everything to be good.")] = 60.0,
) -> None:
    """Check an installation: the operator answers, and the API server serves workspaces to this account."""
    from sibyl_operator.cli import printing

    printing.print_check(
        url,
        namespaces=tuple(namespace or ()),
        kubeconfig=None if kubeconfig is None else str(kubeconfig),
        timeout=timeout,
    )
