"""From raw values to a workspace: shape, then what must hold between parts, then what this version has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sibyl_runtime.workspace.checks import (
    AVAILABILITY_CHECKS,
    CROSS_CHECKS,
    Check,
    Context,
    Finding,
    references_have_a_meaning,
)
from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.environment import expanded_document, marked_document
from sibyl_runtime.workspace.errors import Lines, Location, WorkspaceInvalid, format_path, problem_at
from sibyl_runtime.workspace.explain import explained
from sibyl_runtime.workspace.pipelines import PARALLEL
from sibyl_runtime.workspace.providers import Providers

_MOST_ROUNDS = 50


def parse_workspace(
    raw: Mapping[str, Any],
    *,
    source: str = "workspace",
    lines: Lines | None = None,
    environ: Mapping[str, str] | None = None,
    check_available: bool = True,
) -> Workspace:
    """Read a workspace document. Raises WorkspaceInvalid with all problems: shape, cross checks, availability.

    `environ` given, as in the runtime: every `${VAR}` is replaced, and must be set or have a default. None, as in the
    operator: references stay in text; elsewhere their defaults are judged, and a reference without one is a problem.
    `check_available` False: what the dialect knows and this version has not is let through.
    """
    document, problems = (marked_document(raw), []) if environ is None else expanded_document(raw, environ, lines)
    workspace, findings = _read_shape(document)
    if workspace is not None:
        context = Context(workspace, raw, resolved=environ is not None)
        checks = (*CROSS_CHECKS, *AVAILABILITY_CHECKS) if check_available else CROSS_CHECKS
        findings += _checked(context, checks, [finding.at for finding in findings])
    missing = {problem.path for problem in problems}
    for finding in dict.fromkeys(findings):
        if format_path(finding.at) not in missing:
            problems.append(problem_at(finding.at, finding.message, lines))
    if problems or workspace is None:
        raise WorkspaceInvalid(problems, source)
    return workspace


def _checked(context: Context, checks: Iterable[Check], faulty: Sequence[Location]) -> list[Finding]:
    """What the checks find and is not only a consequence of a key that was left out, or of a misused reference."""
    misused = [finding for finding in references_have_a_meaning(context) if not _touches(finding.at, faulty)]
    places = [*faulty, *(finding.at for finding in misused)]
    found = [finding for check in checks for finding in check(context)]
    return [*misused, *(finding for finding in found if not _touches(finding.at, places))]


def _read_shape(document: Mapping[str, Any]) -> tuple[Workspace | None, list[Finding]]:
    """The workspace without its faulty keys, and the faults; None when too little is left to judge the rest.

    Reading again without the faulty keys brings out faults that were hidden behind them.
    """
    findings: list[Finding] = []
    remaining: Any = document
    for _ in range(_MOST_ROUNDS):
        try:
            return Workspace.model_validate(remaining), findings
        except ValidationError as error:
            faults = explained(error, Workspace)
        known = {finding.at for finding in findings}
        findings += [Finding(fault.place, fault.message) for fault in faults if fault.place not in known]
        if any(fault.place in known for fault in faults) or not all(
            _can_go_without(fault.place, remaining) for fault in faults
        ):
            return None, findings
        for fault in faults:
            remaining = _without(remaining, fault.place, fault.instead)
    return None, findings


def _can_go_without(at: Location, document: Any) -> bool:
    """True when the rest can be judged without the key at `at`.

    Not an element of a list, as the others would change their places; nor a key that holds names to which other parts
    refer, as they would all be reported as missing.
    """
    if not at or not isinstance(at[-1], str) or _holds_names(at):
        return False
    for part in at:
        holds = part in document if isinstance(document, Mapping) else isinstance(document, list)
        if not holds:
            return False
        document = document[part]
    return True


def _holds_names(at: Location) -> bool:
    if at[0] == "mcp":
        return len(at) == 1 or (at[1] == "tools" and (len(at) == 2 or "parameters" in at[-2:]))
    if at[0] == "providers":
        return len(at) in (1, 3) or (len(at) == 2 and at[1] in Providers.model_fields)
    if at[-1] == "parallel" or at[-2:] == PARALLEL:
        return True
    return at[0] in ("pipelines", "shops") and (len(at) < 3 or "parameters" in at[-2:])


def _without(value: Any, at: Location, instead: object | None) -> Any:
    """`value` without the key at `at`, or with `instead` there."""
    head, rest = at[0], at[1:]
    if isinstance(value, list):
        return [_without(inner, rest, instead) if index == head else inner for index, inner in enumerate(value)]
    if not isinstance(value, Mapping) or head not in value:
        return value
    if rest:
        return {key: _without(inner, rest, instead) if key == head else inner for key, inner in value.items()}
    if instead is not None:
        return {**value, head: instead}
    return {key: inner for key, inner in value.items() if key != head}


def _touches(at: Location, faulty: Iterable[Location]) -> bool:
    """True when a finding may only be a consequence of a fault found before: same place, inside it, or around it."""
    return any(at[: len(fault)] == fault or fault[: len(at)] == at for fault in faulty)
