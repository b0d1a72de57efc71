"""One custom resource, read: either everything about it is understood, or everything that is wrong with it is listed.

Reading validates in full, although the API server has validated before: rules may be newer than the object, and the
document holds free parts that no schema can judge. Fields of `spec` that a newer CRD has and this operator does not
are kept out, not refused, so that an operator survives a CRD that is ahead of it; they are named in the status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from pydantic import ValidationError

from sibyl_operator.api.crd import spec_schema
from sibyl_operator.api.document_checks import ROOT, ClusterDocument, document_problems
from sibyl_operator.api.fields import FORMS, SUBDOMAIN
from sibyl_operator.api.images import DefaultImages
from sibyl_operator.api.models import SibylWorkspaceSpec
from sibyl_operator.api.reading import spec_problems
from sibyl_operator.api.structure import UnknownField, prune
from sibyl_runtime.workspace import Problem, Workspace, WorkspaceInvalid, format_path, parse_workspace

Manifest = dict[str, Any]
LONGEST_NAME: Final = 253


@dataclass(frozen=True)
class WorkspaceResource:
    """A valid SibylWorkspace. `raw_document` is the document as written, `document` as understood.

    `unknown_fields` are fields of `spec` that this operator does not know, and therefore ignores. `images` are those
    of the operator's settings, for pods of which the spec names none.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    deleting: bool
    spec: SibylWorkspaceSpec
    document: Workspace
    raw_document: Mapping[str, Any]
    previous_status: Mapping[str, Any]
    unknown_fields: tuple[UnknownField, ...] = ()
    images: DefaultImages = field(default_factory=DefaultImages)


@dataclass(frozen=True)
class InvalidResource:
    """A SibylWorkspace that cannot be acted on; `problems` holds all that was found."""

    namespace: str
    name: str
    uid: str
    generation: int
    previous_status: Mapping[str, Any]
    problems: tuple[Problem, ...]
    deleting: bool = False


def read_resource(body: Manifest, images: DefaultImages | None = None) -> WorkspaceResource | InvalidResource:
    """Read and validate one object as the API server holds it, or as a file does (then without uid)."""
    spec_read, problems, unknown = _read_spec(body.get("spec"))
    problems = (*_name_problems(body), *problems)
    if isinstance(spec_read, SibylWorkspaceSpec):
        document = _read_document(spec_read)
        if isinstance(document, Workspace):
            problems += document_problems(ClusterDocument(spec_read, spec_read.workspace, document))
            if not problems:
                return _valid(body, spec_read, document, unknown, images or DefaultImages())
        else:
            problems += document
    return _invalid(body, problems)


def unknown_fields(body: Manifest) -> tuple[UnknownField, ...]:
    """The fields of `spec` that the CRD does not have, those of the document aside; locations start below `spec`."""
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        return ()
    return prune(_spec_schema(), {name: value for name, value in spec.items() if name != "workspace"})[1]


def _read_spec(spec: Any) -> tuple[SibylWorkspaceSpec | None, tuple[Problem, ...], tuple[UnknownField, ...]]:
    """The spec, or what is wrong with it; the document in it is judged by its own reader, pruned by nobody."""
    if not isinstance(spec, Mapping):
        return None, (Problem("spec", "is required and must be a mapping"),), ()
    kubernetes = {name: value for name, value in spec.items() if name != "workspace"}
    pruned, unknown = prune(_spec_schema(), kubernetes)
    if "workspace" in spec:
        pruned = {**pruned, "workspace": spec["workspace"]}
    try:
        return SibylWorkspaceSpec.model_validate(pruned), (), unknown
    except ValidationError as error:
        return None, tuple(spec_problems(error)), unknown


def _name_problems(body: Manifest) -> tuple[Problem, ...]:
    """What an API server would refuse before all else; a file may hold anything."""
    name = _metadata(body).get("name")
    if isinstance(name, str) and len(name) <= LONGEST_NAME and re.fullmatch(SUBDOMAIN, name):
        return ()
    found = f", found {name!r}" if isinstance(name, str) else ""
    return (Problem("metadata.name", f"should be {FORMS[SUBDOMAIN]}{found}"),)


def _read_document(spec: SibylWorkspaceSpec) -> Workspace | tuple[Problem, ...]:
    try:
        return parse_workspace(spec.workspace, source="spec.workspace")
    except WorkspaceInvalid as invalid:
        return tuple(_seen_from_the_resource(problem) for problem in invalid.problems)


def _seen_from_the_resource(problem: Problem) -> Problem:
    root = format_path(ROOT)
    separator = "" if not problem.path or problem.path.startswith("[") else "."
    return Problem(f"{root}{separator}{problem.path}", problem.message, problem.line)


def _valid(
    body: Manifest,
    spec: SibylWorkspaceSpec,
    document: Workspace,
    unknown: tuple[UnknownField, ...],
    images: DefaultImages,
) -> WorkspaceResource:
    metadata = _metadata(body)
    return WorkspaceResource(
        **_identity(body),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        spec=spec,
        document=document,
        raw_document=spec.workspace,
        unknown_fields=unknown,
        images=images,
    )


def _invalid(body: Manifest, problems: tuple[Problem, ...]) -> InvalidResource:
    return InvalidResource(**_identity(body), problems=problems)


def _metadata(body: Manifest) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _identity(body: Manifest) -> dict[str, Any]:
    metadata = _metadata(body)
    return {
        "namespace": metadata.get("namespace", "default"),
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "generation": metadata.get("generation", 0),
        "deleting": "deletionTimestamp" in metadata,
        "previous_status": body.get("status") or {},
    }


@cache
def _spec_schema() -> dict[str, Any]:
    return spec_schema()
