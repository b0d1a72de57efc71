"""The commands that print: manifests, and what a check found."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sibyl_operator.api.crd import custom_resource_definition
from sibyl_operator.desired.rendering import children_of
from sibyl_operator.process.check import check
from sibyl_operator.yaml_text import dump_all
from sibyl_runtime.workspace import WorkspaceInvalid, load_document

Manifest = dict[str, Any]

INVALID = 1


def print_crd(*, as_json: bool) -> None:
    """The CRD."""
    manifest = custom_resource_definition()
    sys.stdout.write(_json(manifest) if as_json else dump_all([manifest]))


def print_check(url: str, *, namespaces: tuple[str, ...], kubeconfig: str | None, timeout: float) -> None:
    """Every finding of a check, and exit code 1 where one is a problem."""
    findings = asyncio.run(check(url, namespaces, kubeconfig=kubeconfig, timeout=timeout))
    for finding in findings:
        print(finding)
    if any(finding.problem is not None for finding in findings):
        raise SystemExit(INVALID)


def print_children(file: Path, *, namespace: str | None, as_json: bool) -> None:
    """The children of the workspace in `file`, or everything that is wrong with it and exit code 1."""
    try:
        children = children_of(load_document(file), namespace)
    except WorkspaceInvalid as error:
        if as_json:
            sys.stdout.write(
                _json(
                    {"valid": False, "source": str(file), "problems": [asdict(problem) for problem in error.problems]}
                )
            )
        else:
            print(error, file=sys.stderr)
        raise SystemExit(INVALID) from None
    sys.stdout.write(_json(_list(children)) if as_json else dump_all(children))


def _list(manifests: Sequence[Manifest]) -> Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": list(manifests)}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
