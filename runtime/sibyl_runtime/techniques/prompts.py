"""Fills a prompt template. Only the template's own {query} and {context} mean something: braces that come with a
question or a document are text, so that no content can reach into the template."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sibyl_runtime.providers.protocols import Passage

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{query\}|\{context\}")


def rendered(template: str, *, query: str, context: str) -> str:
    """`template` with its placeholders filled in one pass, and `{{`, `}}` as the braces that they stand for."""
    values = {"{query}": query, "{context}": context, "{{": "{", "}}": "}"}
    return _PLACEHOLDER.sub(lambda found: values[found.group()], template)


def numbered(passages: Sequence[Passage]) -> str:
    """The passages as the model sees them, from [1], each under its title."""
    return "\n\n".join(
        f"[{number}] {passage.title}\n{passage.content}" if passage.title else f"[{number}] {passage.content}"
        for number, passage in enumerate(passages, start=1)
    )
