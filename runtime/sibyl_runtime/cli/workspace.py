"""`sibyl workspace validate` and `sibyl workspace show`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sibyl_runtime.cli.documents import read_document
from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.cli.output import plural, print_json
from sibyl_runtime.cli.run import reported
from sibyl_runtime.workspace import (
    SourceDocument,
    Workspace,
    WorkspaceInvalid,
    effective_hash,
    environment_references,
    literal_notice,
    literal_secrets,
    notices,
    parse_workspace,
    problem_at,
    redact,
    unreachable_models,
)


def validate(file: Path, *, as_json: bool) -> None:
    """Say what is in a valid document, or everything that is wrong and end the process with an ExitCode.

    What is not wrong and should be known all the same, such as settings of a section that is off, is a warning.
    """
    try:
        source = read_document(file)
        workspace = parse_workspace(source.raw, source=source.source, lines=source.lines)
        refuse_what_cannot_start(workspace, source)
    except WorkspaceInvalid as error:
        if as_json:
            print_json({"valid": False, "source": str(file), "problems": error.problems})
        else:
            print(error, file=sys.stderr)
        raise SystemExit(ExitCode.INVALID) from None
    facts = {"name": source.name or workspace.name, **contents(workspace, source.raw)}
    warnings = notices(workspace, source.raw, source.lines)
    if as_json:
        print_json({"valid": True, "source": str(file), **facts, "warnings": warnings})
        return
    for warning in warnings:
        print(f"{file}: warning: {warning}", file=sys.stderr)
    print(f"{file}: valid · {' · '.join(facts_in_words(facts))}")


def refuse_what_cannot_start(workspace: Workspace, source: SourceDocument) -> None:
    """What `sibyl serve` would refuse, and of a custom resource what the operator would. Raises WorkspaceInvalid."""
    faults = list(unreachable_models(workspace))
    if source.resource is not None:
        faults += [(at, literal_notice(held, at)) for at, held in literal_secrets(source.raw)]
    if faults:
        raise WorkspaceInvalid([problem_at(at, message, source.lines) for at, message in faults], source.source)


def contents(workspace: Workspace, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is in the document, by name, and what it needs from the environment."""
    references = environment_references(raw)
    required = {name for name, uses in references.items() if any(use.default is None for use in uses)}
    return {
        "hash": effective_hash(raw),
        "pipelines": sorted(workspace.effective_pipelines),
        "tools": sorted(workspace.effective_tools),
        "environment": {"required": sorted(required), "optional": sorted(references.keys() - required)},
    }


def facts_in_words(facts: Mapping[str, Any]) -> list[str]:
    """`docs`, `2 pipelines (ingest, search)`, `1 tool (search_documents)`, what the environment must hold, the hash."""
    required = facts["environment"]["required"]
    return [
        facts["name"],
        *(f"{plural(len(facts[kind]), kind[:-1])} ({', '.join(facts[kind])})" for kind in ("pipelines", "tools")),
        f"needs {', '.join(required)} from the environment" if required else "needs nothing from the environment",
        facts["hash"],
    ]


def show(file: Path, *, as_json: bool) -> None:
    """Print the document with its built-in pipelines and tools filled in, secrets redacted, and its hash."""
    with reported():
        source = read_document(file)
        workspace = parse_workspace(source.raw, source=source.source, lines=source.lines)
        document = effective(workspace, source.raw)
        digest = effective_hash(source.raw)
        if as_json:
            print_json({"hash": digest, "document": document})
            return
        sys.stdout.write(f"# {file}: {digest}, of the document as written\n")
        yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True)


def effective(workspace: Workspace, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The redacted document, and under `pipelines` and `mcp.tools` what is there without being written."""
    document: dict[str, Any] = redact(raw)
    written = document.get("pipelines") or {}
    built_in = {
        name: pipeline.model_dump(mode="json", exclude_unset=True)
        for name, pipeline in workspace.effective_pipelines.items()
        if name not in written
    }
    document["pipelines"] = {**written, **built_in}
    mcp = document.get("mcp") or {}
    if not mcp.get("tools"):
        tools = [
            tool.model_dump(mode="json", exclude_unset=True, exclude_none=True)
            for tool in workspace.effective_tools.values()
        ]
        document["mcp"] = {**mcp, "tools": tools}
    return document
