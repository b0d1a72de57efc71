"""The commands that print manifests."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sibyl_operator.api.crd import custom_resource_definition
from sibyl_operator.desired.rendering import children_of
from sibyl_operator.install import Installation, installation, installation_text
from sibyl_operator.yaml_text import dump_all
from sibyl_runtime.workspace import WorkspaceInvalid, load_document

Manifest = dict[str, Any]

INVALID = 1


def print_crd(*, as_json: bool) -> None:
    """The CRD."""
    manifest = custom_resource_definition()
    sys.stdout.write(_json(manifest) if as_json else dump_all([manifest]))


def print_installation(
    *, serves: tuple[str, ...], namespace: str, image: str | None, replicas: int, as_json: bool
) -> None:
    """What installs the operator."""
    plan = Installation(namespace=namespace, replicas=replicas, serves=serves)
    plan = plan if image is None else replace(plan, image=image)
    sys.stdout.write(_json(_list(installation(plan))) if as_json else installation_text(plan))


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
