"""Sends the documents of a folder to a running service: they are read here as `sibyl ingest` reads them, with the
settings of the service's own pipeline, and cut, embedded and stored there.

A request is kept small enough to be answered in seconds, so that one that fails costs little: what it stored is
unchanged when it is sent again. Documents that are gone are removed last, and only when everything was read and sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sibyl_runtime.cli.service import Service, ServiceClient
from sibyl_runtime.errors import DeadlineExceeded, NotFound, RequestTooLarge, StartupError
from sibyl_runtime.pipeline.context import IngestLedger, Progress
from sibyl_runtime.runtime import IngestReport
from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.techniques.load_documents import Load, begin_load, next_batch, nothing_found
from sibyl_runtime.workspace import LoadDocumentsConfig

FIRST_BYTES = 32 * 1024
FEWEST_BYTES = 8 * 1024
MOST_BYTES = 1_000_000
"""Just below what common proxies let through when nobody has configured them (1 MiB)."""
WANTED_SECONDS = 5.0
"""For one request: long enough to be worth its way, short enough to show progress and to lose little."""
ENVELOPE_BYTES = 64
"""What a request holds besides its source, its pipeline and its documents, and some to spare."""


@dataclass(frozen=True)
class Parcel:
    """A document, encoded."""

    id: str
    body: bytes


async def send_documents(
    service: Service, path: Path, *, pipeline: str, source: str | None, progress: Progress
) -> IngestReport:
    """Make the service's collection equal to what is at `path`.

    Raises IngestError when there is nothing to send, what the service refuses, and StartupError, DatabaseUnavailable
    or Overloaded when it cannot be reached for long; nothing has been removed then.
    """
    started = time.monotonic()
    async with ServiceClient(service) as client:
        config, limits = await _settings(client, service.url, pipeline)
        load = await asyncio.to_thread(begin_load, path, config, source=source)
        room = limits["bytes"] - len(_head(load.ledger.source, pipeline)) - ENVELOPE_BYTES
        outbox = Outbox(load, most_bytes=room, most_documents=limits["documents"])
        sender = Sender(client, load.ledger, pipeline, most_bytes=min(MOST_BYTES, room))
        found = False
        while parcels := await asyncio.to_thread(outbox.next, sender.budget):
            found = True
            await sender.send(parcels)
            progress(load.ledger.progress(time.monotonic() - started))
        if not found and not outbox.withheld:
            raise nothing_found(load, config.pattern)
        if load.ledger.may_remove():
            await _prune(client, load.ledger, min(MOST_BYTES, room) // 2)
    return _report(load.ledger, time.monotonic() - started)


class Outbox:
    """Cuts what a load reads into portions for one request each; synchronous, for a thread."""

    def __init__(self, load: Load, *, most_bytes: int, most_documents: int) -> None:
        self._load = load
        self._most_bytes = most_bytes
        self._most_documents = most_documents
        self._held: Parcel | None = None
        self.withheld = 0
        """Documents that no request can carry."""

    def next(self, budget: int) -> list[Parcel]:
        """The next documents, `budget` bytes of them, or a single larger one; none at the end."""
        portion: list[Parcel] = []
        size = 0
        while len(portion) < self._most_documents and (parcel := self._held or self._read()) is not None:
            self._held = None
            if portion and size + len(parcel.body) > budget:
                self._held = parcel
                break
            portion.append(parcel)
            size += len(parcel.body) + 1
        return portion

    def _read(self) -> Parcel | None:
        while loaded := next_batch(self._load.events, 1, self._load.ledger):
            parcel = _parcel(loaded[0])
            if len(parcel.body) <= self._most_bytes:
                return parcel
            self.withheld += 1
            self._load.ledger.skip(
                parcel.id,
                f"{len(parcel.body):,} bytes as JSON, above what a request to the service may hold "
                f"({self._most_bytes:,} bytes, from mcp.max_request_size)",
            )
        return None


class Sender:
    """Sends portions and adds up the answers. `budget` is the size, in bytes, that the next portion should have."""

    def __init__(self, client: ServiceClient, ledger: IngestLedger, pipeline: str, *, most_bytes: int) -> None:
        self._client = client
        self._ledger = ledger
        self._pipeline = pipeline
        self._most = most_bytes
        self.budget = min(FIRST_BYTES, most_bytes)

    async def send(self, portion: Sequence[Parcel]) -> None:
        """Have a portion stored; in halves where it is too large for the service, or for a proxy before it."""
        try:
            reply = await self._client.post("/documents", self._body(portion))
        except (RequestTooLarge, DeadlineExceeded) as error:
            if len(portion) > 1:
                self._shrink(sum(len(parcel.body) for parcel in portion) // 2)
                middle = len(portion) // 2
                await self.send(portion[:middle])
                await self.send(portion[middle:])
                return
            if isinstance(error, DeadlineExceeded):
                raise
            self._ledger.skip(portion[0].id, f"too large for the service, or for a proxy before it: {error.message}")
            return
        self._count(reply)
        self._adapt(reply["seconds"])

    def _body(self, portion: Sequence[Parcel]) -> bytes:
        return (
            _head(self._ledger.source, self._pipeline)[:-1]
            + b',"documents":['
            + b",".join(parcel.body for parcel in portion)
            + b"]}"
        )

    def _count(self, reply: Mapping[str, Any]) -> None:
        self._ledger.stored += reply["documents"]
        self._ledger.stored_chunks += reply["chunks"]
        self._ledger.unchanged += reply["unchanged"]
        self._ledger.replaced += reply["replaced"]
        self._ledger.copies.update(reply["copies"])
        for skipped in reply["skipped"]:
            self._ledger.skip(skipped["id"], skipped["reason"])

    def _adapt(self, seconds: float) -> None:
        factor = WANTED_SECONDS / seconds if seconds > 0 else 2.0
        self.budget = min(self._most, max(FEWEST_BYTES, int(self.budget * min(2.0, max(0.5, factor)))))

    def _shrink(self, size: int) -> None:
        """What was refused once is not tried again."""
        self._most = min(self._most, max(FEWEST_BYTES, size))
        self.budget = min(self.budget, self._most)


def ranges(ids: Sequence[str], budget: int) -> Iterator[dict[str, Any]]:
    """All ids there can be, cut into ranges by `ids`, each with those of `ids` within: about `budget` bytes in one.

    Every range is judged by itself, so that a source of any size can be pruned by requests of bounded size.
    """
    ordered = sorted(ids)
    after: str | None = None
    start = 0
    while True:
        end, size = start, 0
        while end < len(ordered) and (end == start or size < budget):
            size += len(orjson.dumps(ordered[end])) + 1
            end += 1
        last = end == len(ordered)
        bounds = {"after": after, "through": None if last else ordered[end - 1]}
        yield {"keep": ordered[start:end], **{name: bound for name, bound in bounds.items() if bound is not None}}
        if last:
            return
        after, start = ordered[end - 1], end


async def _prune(client: ServiceClient, ledger: IngestLedger, budget: int) -> None:
    for part in ranges(list(ledger.present), budget):
        reply = await client.post("/documents/prune", orjson.dumps({"source": ledger.source, **part}))
        ledger.removed += reply["removed"]


async def _settings(client: ServiceClient, url: str, pipeline: str) -> tuple[LoadDocumentsConfig, Mapping[str, int]]:
    try:
        settings = await client.get("/documents/settings", pipeline=pipeline)
    except NotFound as error:
        raise NotFound(f"{url} takes no documents: {error.message} Is `mcp.ingestion` false there?") from error
    try:
        client.wait_for(float(settings["limits"]["seconds"]))
        return LoadDocumentsConfig.model_validate(settings["load"]), settings["limits"]
    except (KeyError, TypeError, ValueError) as error:
        raise StartupError(
            f"{url} tells settings that this version of sibyl does not know; use the version that runs there"
        ) from error


def _head(source: str, pipeline: str) -> bytes:
    return orjson.dumps({"source": source, "pipeline": pipeline})


def _parcel(loaded: LoadedDocument) -> Parcel:
    document = loaded.document
    body = {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "metadata": document.metadata,
        "format": "markdown" if loaded.markdown else "text",
    }
    return Parcel(document.id, orjson.dumps(body))


def _report(ledger: IngestLedger, seconds: float) -> IngestReport:
    return IngestReport(
        documents=ledger.stored,
        chunks=ledger.stored_chunks,
        unchanged=ledger.unchanged,
        replaced=ledger.replaced,
        removed=ledger.removed,
        seconds=seconds,
        skipped=ledger.skipped,
        copies=dict(ledger.copies),
    )
