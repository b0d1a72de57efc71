"""`data.load_documents`: files, or the rows of a query, become documents, batch by batch and in bounded memory.

A file that cannot be read is reported and left out; what the store holds of it stays. Ids are paths relative to the
directory, for a PDF with the page, or those of the records of a file; an id seen twice in one load keeps its first
document. Of rows an id seen twice ends the load: which of them comes first is up to the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sibyl_runtime.errors import IngestError, InvalidParameters
from sibyl_runtime.pipeline.context import IngestLedger, StepContext
from sibyl_runtime.techniques.batches import DocumentBatch, DocumentStream
from sibyl_runtime.techniques.documents.corpus import is_one_document, read_corpus
from sibyl_runtime.techniques.documents.decoding import known_encoding
from sibyl_runtime.techniques.documents.discovery import Corpus, discover
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped
from sibyl_runtime.techniques.documents.rows import RowEvents, read_rows
from sibyl_runtime.workspace import LoadDocumentsConfig

LOADER = "data.load_documents"
BATCH_CHARACTERS = 4 * 1024 * 1024
"""A batch is passed on at this size even when it has fewer documents than `chunk_size`."""

SHOWN = 10

Documents = AsyncGenerator[list[LoadedDocument], None]
"""What is read, a batch at a time."""


@dataclass(frozen=True)
class Load:
    """One pass over a folder or file: what was found, what has been seen of it, and the reading itself, once."""

    corpus: Corpus
    ledger: IngestLedger
    events: Iterator[Event]


def begin_load(path: Path, config: LoadDocumentsConfig, *, source: str | None = None) -> Load:
    """Find the files; nothing is read yet. `source` names the load in place of what the settings and the path say.

    Synchronous: it runs off the event loop. Raises IngestError when there is nothing at `path`.
    """
    encoding = known_encoding(config.encoding)
    corpus = discover(path, config.pattern)
    countable = all(is_one_document(file) for file in corpus.files)
    ledger = IngestLedger(
        source=source or config.source or str(corpus.root),
        total_documents=len(corpus.files) + len(corpus.skipped) if countable else None,
    )
    return Load(corpus, ledger, read_corpus(corpus, config, source=ledger.source, encoding=encoding))


class LoadDocuments:
    """Reads `path` (of the parameters, else of the step), or `query`.

    Yields DocumentBatches in the order of the file names, or of the rows.
    """

    id = LOADER
    stage = "load"
    merges: frozenset[str] = frozenset()

    async def run(self, context: StepContext, config: LoadDocumentsConfig) -> Mapping[str, Any]:
        """Find the files; reading starts when a later step asks. Raises IngestError when there is nothing there."""
        if config.query is not None:
            return {"documents": _stream_of_rows(context, config)}
        path = _path(context.parameters.get("path"), config)
        with context.timed("load"):
            load = await asyncio.to_thread(begin_load, Path(path), config)
        batches = _batches(
            context, config, load.ledger, _of_files(load, config), partial(nothing_found, load, config.pattern)
        )
        return {"documents": DocumentStream(batches, load.ledger)}


def _path(parameter: object, config: LoadDocumentsConfig) -> str:
    path = config.path if parameter is None else parameter
    if not isinstance(path, str) or not path:
        raise IngestError("no path to ingest: give one, or set `path` in the config of the step data.load_documents")
    return path


def _stream_of_rows(context: StepContext, config: LoadDocumentsConfig) -> DocumentStream:
    if context.parameters.get("path") is not None:
        raise InvalidParameters(
            f"`path` has no meaning here: {LOADER} of pipeline `{context.pipeline}` reads a query; leave it out",
            details={"field": "path"},
        )
    ledger = IngestLedger(source=config.source or "")
    nothing = partial(_no_row, ledger)
    return DocumentStream(_batches(context, config, ledger, _of_rows(config, ledger), nothing), ledger)


async def _of_files(load: Load, config: LoadDocumentsConfig) -> Documents:
    while documents := await asyncio.to_thread(next_batch, load.events, config.chunk_size, load.ledger):
        yield documents


async def _of_rows(config: LoadDocumentsConfig, ledger: IngestLedger) -> Documents:
    events = RowEvents(config, ledger)
    async with aclosing(read_rows(config)) as read:
        async for rows in read:
            of_rows = events.of(rows)
            while documents := await asyncio.to_thread(next_batch, of_rows, config.chunk_size, ledger):
                yield documents
    next_batch(events.rest(), 1, ledger)


async def _batches(
    context: StepContext,
    config: LoadDocumentsConfig,
    ledger: IngestLedger,
    read: Documents,
    nothing: Callable[[], IngestError],
) -> AsyncGenerator[DocumentBatch, None]:
    found = False
    waiting: list[DocumentBatch] = []
    async with aclosing(read):
        while True:
            with context.timed("load"):
                documents = await anext(read, None)
            if documents is None:
                break
            found = True
            if config.streaming:
                yield DocumentBatch(documents)
            else:
                waiting.append(DocumentBatch(documents))
    if not found:
        raise nothing()
    if not config.streaming:
        ledger.total_documents = sum(batch.size for batch in waiting)
    for batch in waiting:
        yield batch


def next_batch(events: Iterator[Event], most: int, ledger: IngestLedger) -> list[LoadedDocument]:
    """Up to `most` documents; fewer only when they are large or the corpus ends."""
    documents: list[LoadedDocument] = []
    characters = 0
    for event in events:
        if isinstance(event, Skipped):
            _leave_out(event, ledger)
            continue
        document = event.document
        if document.id in ledger.present:
            reason = f"another document of this load has the same id, {document.id}; the first one is kept"
            ledger.skip(event.place or document.id, reason)
            continue
        ledger.present[document.id] = None
        documents.append(event)
        characters += len(document.text)
        if len(documents) >= most or characters >= BATCH_CHARACTERS:
            break
    return documents


def _leave_out(event: Skipped, ledger: IngestLedger) -> None:
    ledger.skip(event.path, event.reason)
    ledger.unknown_ids += event.may_hide
    if event.document_id is not None:
        # Not readable now is not gone: what was stored of it before stays until it can be read, or is deleted.
        ledger.present[event.document_id] = None


def nothing_found(load: Load, pattern: str) -> IngestError:
    """The error for a load without a single document, naming what was left out of it."""
    root, left_out = load.corpus.root, _left_out(load.ledger) or "no file matches"
    return IngestError(
        f'no document to ingest in {root} with pattern "{pattern}"; {left_out}. Nothing was changed',
        details={"path": str(root), "pattern": pattern, "skipped": _skipped(load.ledger)},
    )


def _no_row(ledger: IngestLedger) -> IngestError:
    left_out = _left_out(ledger) or "it has no rows"
    return IngestError(
        f"no document to ingest from the query of source {ledger.source}; {left_out}. Nothing was changed",
        details={"source": ledger.source, "skipped": _skipped(ledger)},
    )


def _left_out(ledger: IngestLedger) -> str:
    skipped = ledger.skipped
    shown = "; ".join(f"{file.path}: {file.reason}" for file in skipped[:SHOWN])
    more = f"; and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
    return f"left out: {shown}{more}" if skipped else ""


def _skipped(ledger: IngestLedger) -> list[dict[str, str]]:
    return [{"path": file.path, "reason": file.reason} for file in ledger.skipped[:100]]
