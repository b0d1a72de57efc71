"""From a file to the children of its workspace, without a cluster: what `sibyl-operator render` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sibyl_operator.api.document_checks import ROOT
from sibyl_operator.api.group import API_VERSION
from sibyl_operator.api.reading import unknown_field_problem
from sibyl_operator.api.resource import WorkspaceResource, read_resource, unknown_fields
from sibyl_operator.desired import desired
from sibyl_runtime.workspace import Problem, SourceDocument, WorkspaceInvalid, format_path

Manifest = dict[str, Any]

BARE_DOCUMENT: Final = (
    "is a workspace document without a resource around it; put it under spec.workspace of a SibylWorkspace, "
    "with spec.database beside it"
)


def children_of(source: SourceDocument, namespace: str | None = None) -> tuple[Manifest, ...]:
    """What the operator would make. Raises WorkspaceInvalid, also for fields that the CRD does not have."""
    if source.resource is None:
        raise WorkspaceInvalid([Problem("", BARE_DOCUMENT)], source.source)
    body = _in_namespace(source.resource, namespace)
    if body["apiVersion"] != API_VERSION:
        message = f"{body['apiVersion']} is not known to this operator; use {API_VERSION}"
        raise WorkspaceInvalid([Problem("apiVersion", message)], source.source)
    unknown = tuple(unknown_field_problem(field) for field in unknown_fields(body))
    found = read_resource(body)
    if isinstance(found, WorkspaceResource) and not unknown:
        return tuple(_without_owner(manifest) for manifest in desired(found, {}))
    problems = unknown if isinstance(found, WorkspaceResource) else (*unknown, *found.problems)
    raise WorkspaceInvalid([_with_line(problem, source) for problem in problems], source.source)


def _without_owner(manifest: Manifest) -> Manifest:
    """The manifest without its owner, whose uid only a cluster knows: applied by hand it would be collected at once."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "ownerReferences"}
    return {**manifest, "metadata": metadata}


def _in_namespace(resource: Mapping[str, Any], namespace: str | None) -> Manifest:
    metadata = resource.get("metadata")
    if namespace is None or not isinstance(metadata, Mapping):
        return dict(resource)
    return {**resource, "metadata": {"namespace": namespace, **metadata}}


def _with_line(problem: Problem, source: SourceDocument) -> Problem:
    """The line of the nearest place around the problem that the file has, for problems within the document."""
    lines = {format_path((*ROOT, *location)): line for location, line in source.lines.items()}
    path = problem.path
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return replace(problem, line=lines.get(path)) if path else problem
