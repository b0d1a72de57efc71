"""An embedding process of an ingest: `python -m sibyl_runtime.providers.embedding.bulk_process`, with pipes.

It opens the model that the first frame names, and answers each list of texts with their vectors. It ends when its
input does: a parent that is gone, however it ended, has closed the pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import BinaryIO

from sibyl_runtime.errors import SibylError
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.providers.embedding.frames import HEADER, Kind, framed
from sibyl_runtime.providers.protocols import BulkSettings
from sibyl_runtime.workspace import EmbeddingProvider


def main() -> None:
    """Serve standard input until it ends."""
    # Frames alone go to the pipe: what a library prints belongs with the log.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(_serve(sys.stdin.buffer, replies))
    # Nobody reads the other end any more where the pipe broke; leave nothing for the interpreter to flush.
    os._exit(0)


async def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    first = _read(requests)
    if first is None:
        return
    settings = json.loads(first[1])
    try:
        provider = EmbeddingProvider.model_validate(settings["provider"])
        embedder = await open_embedder(settings["name"], provider, share=settings["share"])
    except SibylError as error:
        _write(replies, Kind.REFUSED, _refusal(error))
        return
    ready = {"tag": embedder.tag, "dimension": embedder.dimension}
    _write(replies, Kind.READY, json.dumps(ready).encode())
    async with embedder.bulk(BulkSettings(free_memory=settings["free_memory"])) as embed:
        while (frame := _read(requests)) is not None:
            try:
                vectors = await embed(json.loads(frame[1]))
            except SibylError as error:
                _write(replies, Kind.REFUSED, _refusal(error))
            else:
                _write(replies, Kind.VECTORS, vectors.tobytes())


def _read(requests: BinaryIO) -> tuple[Kind, bytes] | None:
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    kind, size = HEADER.unpack(header)
    body = requests.read(size)
    return (Kind(kind), body) if len(body) == size else None


def _write(replies: BinaryIO, kind: Kind, body: bytes) -> None:
    replies.write(framed(kind, body))
    replies.flush()


def _refusal(error: SibylError) -> bytes:
    return json.dumps({"error": type(error).__name__, "message": error.message}).encode()


if __name__ == "__main__":
    main()
