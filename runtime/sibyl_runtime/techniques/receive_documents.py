"""Stands in for `data.load_documents` where the documents come with a request instead of from files.

Everything after it is the pipeline as the document writes it. What is given is a part of its source: nothing is removed
by leaving it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sibyl_runtime.pipeline.context import IngestLedger, StepContext
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.batches import DocumentBatch, DocumentStream
from sibyl_runtime.techniques.documents.decoding import check_id, check_storable
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped, Unreadable
from sibyl_runtime.techniques.documents.metadata import plain_metadata
from sibyl_runtime.techniques.load_documents import LOADER, next_batch
from sibyl_runtime.workspace import LoadDocumentsConfig


@dataclass(frozen=True)
class GivenDocument:
    """A document as a client gives it; nothing of it has been checked but the types."""

    id: str
    text: str
    title: str
    metadata: Mapping[str, Any]
    format: Literal["markdown", "text"]


@dataclass(frozen=True)
class GivenDocuments:
    """Some documents of the set that `source` names."""

    source: str
    documents: Sequence[GivenDocument]


class ReceiveDocuments:
    """Yields what it was made with, batch by batch; made for one run. A document that cannot be stored is left out."""

    id = LOADER
    stage = "load"
    merges: frozenset[str] = frozenset()

    def __init__(self, given: GivenDocuments) -> None:
        self._given = given

    async def run(self, context: StepContext, config: LoadDocumentsConfig) -> Mapping[str, Any]:
        """`max_file_size` of the settings bounds a text; the path, and what else is about files, has no use here."""
        ledger = IngestLedger(self._given.source, total_documents=len(self._given.documents), partial=True)
        events = _events(self._given, config.max_file_size)
        return {"documents": DocumentStream(_batches(context, config.chunk_size, events, ledger), ledger)}


async def _batches(
    context: StepContext, most: int, events: Iterator[Event], ledger: IngestLedger
) -> AsyncGenerator[DocumentBatch, None]:
    while True:
        with context.timed("load"):
            documents = await asyncio.to_thread(next_batch, events, most, ledger)
        if not documents:
            return
        yield DocumentBatch(documents)


def _events(given: GivenDocuments, max_size: int) -> Iterator[Event]:
    for document in given.documents:
        try:
            yield _loaded(document, given.source, max_size)
        except Unreadable as error:
            yield Skipped(document.id, str(error), document_id=document.id)


def _loaded(given: GivenDocument, source: str, max_size: int) -> LoadedDocument:
    check_id(given.id)
    check_storable(given.title)
    check_storable(given.text)
    if not given.text.strip():
        raise Unreadable("empty")
    size = len(given.text.encode())
    if size > max_size:
        raise Unreadable(f"{size:,} bytes, above max_file_size ({max_size:,} bytes)")
    document = Document(given.id, source, given.title, given.text, plain_metadata(given.metadata))
    return LoadedDocument(document, markdown=given.format == "markdown")
