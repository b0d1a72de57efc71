"""References to the environment in a document: which there are, and the document with their values in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sibyl_runtime.workspace.errors import Lines, Location, Problem, WorkspaceInvalid, format_path, problem_at
from sibyl_runtime.workspace.references import (
    EnvironmentText,
    Reference,
    references_of_kind,
    unescape,
)
from sibyl_runtime.workspace.secrecy import may_hold_secret
from sibyl_runtime.workspace.walk import map_texts, texts_in

_ESCAPED_ENVIRONMENT = re.compile(r"\$\$\{(?=[A-Z_])")


@dataclass(frozen=True)
class EnvironmentReference:
    """One use of a variable. `default` is None when the document gives none, so that the variable must be set."""

    path: str
    name: str
    default: str | None


def environment_references(raw: Mapping[str, Any]) -> dict[str, list[EnvironmentReference]]:
    """Every reference to the environment, by variable, in the order of the document."""
    found: dict[str, list[EnvironmentReference]] = {}
    for at, text in texts_in(raw):
        for reference in references_of_kind("environment", text):
            use = EnvironmentReference(format_path(at), reference.name, reference.default)
            found.setdefault(reference.name, []).append(use)
    return found


def expand_environment(raw: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The document with every reference to the environment replaced. Raises WorkspaceInvalid, naming all not set.

    As in a shell, a default also stands in for a variable that is set to nothing.
    """
    expanded, problems = expanded_document(raw, environ, None)
    if problems:
        raise WorkspaceInvalid(problems)
    plain: dict[str, Any] = map_texts(expanded, lambda text, _: str(text))
    return plain


def expanded_document(
    raw: Mapping[str, Any], environ: Mapping[str, str], lines: Lines | None
) -> tuple[dict[str, Any], list[Problem]]:
    """The document with values in place, marked as coming from the environment; and the variables that are missing."""
    problems: list[Problem] = []

    def expand(text: str, at: Location) -> str:
        found = references_of_kind("environment", text)
        if not found:
            return _unescaped(text, at)
        expanded, end = "", 0
        for reference in found:
            value = _value(reference, environ)
            if value is None:
                problems.append(problem_at(at, _not_set(reference, at), lines))
            expanded += _unescaped(text[end : reference.start], at) + (value or "")
            end = reference.end
        return EnvironmentText(expanded + _unescaped(text[end:], at), reference=text, resolved=True)

    return map_texts(raw, expand), problems


def _value(reference: Reference, environ: Mapping[str, str]) -> str | None:
    value = environ.get(reference.name)
    return value if value or reference.default is None else reference.default


def _unescaped(text: str, at: Location) -> str:
    """`$${X}` as the text `${X}`; in a step only where X is upper case, as the step reads the others itself."""
    in_step = len(at) > 2 and at[0] == "pipelines" and at[2] == "steps"
    return _ESCAPED_ENVIRONMENT.sub("${", text) if in_step else unescape(text)


def _not_set(reference: Reference, at: Location) -> str:
    name = reference.name
    # The default of a secret would be the secret itself, in the document.
    otherwise = "" if may_hold_secret(at) else f", or give a default: ${{{name}:-value}}"
    return f"${{{name}}} is not set in the environment; set it{otherwise}"


def marked_document(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its references in place, marked so that fields that hold no text can be judged by defaults."""

    def mark(text: str, at: Location) -> str:
        found = references_of_kind("environment", text)
        if not found:
            return text
        whole = len(found) == 1 and (found[0].start, found[0].end) == (0, len(text))
        return EnvironmentText(text, reference=text, resolved=False, default=found[0].default if whole else None)

    marked: dict[str, Any] = map_texts(raw, mark)
    return marked
