"""Fills a prompt template. Only the template's own placeholders mean something: braces that come with a question or a
document are text, so that no content can reach into the template."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sibyl_runtime.providers.protocols import Passage
from sibyl_runtime.store.records import Hit

SEPARATOR = "\n\n"

_BRACES = {"{{": "{", "}}": "}"}


def rendered(template: str, **values: str) -> str:
    """`template` with its placeholders filled in one pass, and `{{`, `}}` as the braces that they stand for."""
    known = _BRACES | {f"{{{name}}}": value for name, value in values.items()}
    placeholder = re.compile("|".join(map(re.escape, known)))
    return placeholder.sub(lambda found: known[found.group()], template)


def numbered(passages: Sequence[Passage]) -> str:
    """The passages as the model sees them, from [1], each under its title."""
    return SEPARATOR.join(entry(number, passage) for number, passage in enumerate(passages, start=1))


def entry(number: int, passage: Passage) -> str:
    """One passage as it stands in the context."""
    return f"[{number}] {passage.title}\n{passage.content}" if passage.title else f"[{number}] {passage.content}"


def place(hit: Hit) -> str:
    """Where a chunk stands, as the model is told: the document's title and the headings above the chunk."""
    title = hit.title or hit.document_id
    if not hit.heading:
        return title
    return hit.heading if hit.heading.startswith(title) else f"{title} > {hit.heading}"


def passages_of(hits: Sequence[Hit]) -> list[Passage]:
    """The chunks as a language model sees them."""
    return [Passage(place(hit), hit.content, hit.score) for hit in hits]
