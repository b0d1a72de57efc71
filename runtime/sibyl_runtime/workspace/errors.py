"""What can be wrong with a workspace document, as values: a reader sees every problem at once, each with its place.

A message never shows the value of a field that may hold a secret, nor a value that came from the environment.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sibyl_runtime.workspace.references import EnvironmentText
from sibyl_runtime.workspace.secrecy import REDACTED, may_hold_secret, without_passwords

Location = tuple[str | int, ...]
Lines = Mapping[Location, int]

_PLAIN_KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]*$")
_LONGEST_QUOTE = 80
_SHOWN_KEYS = ("${", "sha256:")


@dataclass(frozen=True)
class Problem:
    """One thing to put right. `path` is in the document's own terms; `line` counts from 1, None when not known."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        line = f"  (line {self.line})" if self.line is not None else ""
        return f"{place}{self.message}{line}"


class WorkspaceInvalid(Exception):
    """The document cannot be used. `problems` holds all that was found, in the order of the checks."""

    def __init__(self, problems: Iterable[Problem], source: str = "workspace") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.source = source
        count = len(self.problems)
        lines = [f"{source}: {problem}" for problem in self.problems]
        super().__init__("\n".join([*lines, "1 error" if count == 1 else f"{count} errors"]))


class ArgumentsInvalid(Exception):
    """The arguments of a call do not fit. `problems` holds all that was found; each `path` starts with a parameter."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def format_path(location: Iterable[str | int]) -> str:
    """The location as a reader writes it: `pipelines.search.steps[2].condition`. Without the keys of clients."""
    path = ""
    around: str | int | None = None
    for written in location:
        # The one map whose names may be secrets: it is about keys, as they are written elsewhere.
        hidden = around == "key_metadata" and isinstance(written, str) and not written.startswith(_SHOWN_KEYS)
        part, around = REDACTED if hidden else written, written
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            path += f".{part}" if path else part
        else:
            path += f"[{json.dumps(part, ensure_ascii=False)}]"
    return path


def problem_at(location: Location, message: str, lines: Lines | None = None) -> Problem:
    """A problem at `location`, with the line of the nearest key that is written in the file."""
    return Problem(format_path(location), message, line_of(location, lines))


def line_of(location: Location, lines: Lines | None) -> int | None:
    """The line of `location`, or of the nearest thing around it that has one."""
    if not lines:
        return None
    for end in range(len(location), -1, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely means, or None."""
    spelling = name.lower().replace("-", "_")
    by_spelling = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    found = difflib.get_close_matches(spelling, by_spelling, n=1, cutoff=0.6)
    return by_spelling[found[0]] if found else None


def suggestion(name: str, known: Iterable[str], label: str = "known") -> str:
    """`. Did you mean x?` when a known name is near, else the list of all."""
    names = sorted(known)
    near = nearest(name, names)
    if near is not None:
        return f". Did you mean {near}?"
    return f"; {label}: {', '.join(names)}" if names else ""


def found(value: object, location: Sequence[str | int] = ()) -> str:
    """`value` as a message may show it: short, in the document's notation, and never a secret."""
    if isinstance(value, EnvironmentText):
        return f"the value of {value.reference}"
    if may_hold_secret(location):
        return "a value that is not shown here"
    if value is None:
        return "nothing (null)"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    value = without_passwords(value) if isinstance(value, str) else value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 1]}…"


def number(value: float) -> str:
    """`value` without an exponent and without a needless fraction: 1000000, 0.5."""
    return str(int(value)) if float(value).is_integer() else repr(value)
