"""What one load has seen so far: the facts that its report, its progress and the removal of old documents rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SkippedFile:
    """Something that was not ingested. `path` is a file, or `file:line` for one record of a file."""

    path: str
    reason: str


@dataclass(frozen=True)
class IngestProgress:
    """Documents stored, chunks stored, documents found unchanged; `total_documents` is None while it is not known."""

    documents: int
    chunks: int
    unchanged: int
    total_documents: int | None
    seconds: float


Progress = Callable[[IngestProgress], None]


@dataclass
class IngestLedger:
    """One load, from its first document to its last. Steps write it as batches pass; counts are of this run."""

    source: str
    total_documents: int | None = None
    partial: bool = False
    """The load holds a part of its source: what is not in it is not gone, and the end of it is not the end."""
    present: dict[str, None] = field(default_factory=dict)
    """Ids that the source still has, those of unreadable files included: a set that keeps its order."""
    skipped: list[SkippedFile] = field(default_factory=list)
    unknown_ids: int = 0
    """Things skipped whose document ids could not be read: what the source no longer has cannot be told then."""
    stored: int = 0
    stored_chunks: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0
    copies: Counter[str] = field(default_factory=Counter)
    """Documents that another source holds under the same id, word for word; counted by that source."""

    def skip(self, path: str, reason: str) -> None:
        """Note that `path` was not ingested; its place in the total is given up."""
        self.skipped.append(SkippedFile(path, reason))
        if self.total_documents is not None:
            self.total_documents -= 1

    def may_remove(self) -> bool:
        """Whether what is not `present` is gone from the source; if that cannot be told, the report says so."""
        if self.unknown_ids:
            self.skip(
                self.source,
                f"no document was removed: what is missing cannot be told while {self.unknown_ids} of the things left "
                "out above may hold documents; put them right and ingest again",
            )
        return not self.unknown_ids

    def progress(self, seconds: float) -> IngestProgress:
        """The state now, `seconds` after the start."""
        return IngestProgress(self.stored, self.stored_chunks, self.unchanged, self.total_documents, seconds)
