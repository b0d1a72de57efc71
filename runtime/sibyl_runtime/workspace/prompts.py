"""What a prompt of the document may hold: placeholders by name, and every other brace doubled."""

from __future__ import annotations

import string
from collections.abc import Sequence

from sibyl_runtime.workspace.base import fail_field


def check_prompt(prompt: str, allowed: Sequence[str]) -> None:
    """Fail the field `prompt` unless it can be filled in from `allowed`, {query} among them, and asks the question."""
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(prompt) if name is not None}
    except ValueError as error:
        fail_field("prompt", f"cannot be filled in: {error}; write {{{{ and }}}} for braces")
    known = ", ".join(f"{{{name}}}" for name in allowed)
    for name in sorted(names - set(allowed)):
        fail_field("prompt", f"has no value for {{{name}}}; allowed: {known}, {{{{ for a brace")
    if "query" not in names:
        fail_field("prompt", "must hold {query}, else the model never sees the question")
