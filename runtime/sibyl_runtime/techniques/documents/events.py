"""What reading a corpus yields: documents, and what had to be left out. Reading goes on after a bad file."""

from __future__ import annotations

from dataclasses import dataclass

from sibyl_runtime.store.records import Document


@dataclass(frozen=True)
class LoadedDocument:
    """A document that can be ingested. `markdown` tells that headings and code fences in its text are structure."""

    document: Document
    markdown: bool
    place: str = ""
    """Where it stands, `file:line`, where that is not its id."""


@dataclass(frozen=True)
class Skipped:
    """Something left out. `path` is a file, or `file:line`.

    `document_id` is the document that it would have been, where that is known. `may_hide` tells that it may hold
    documents whose ids are not known: nothing can be called missing from the source then.
    """

    path: str
    reason: str
    document_id: str | None = None
    may_hide: bool = False


Event = LoadedDocument | Skipped


class Unreadable(Exception):
    """A file or record cannot become a document; the message is the reason that is reported."""
