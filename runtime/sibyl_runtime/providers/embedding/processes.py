"""Processes that embed for an ingest, each with a model of its own, started when it begins and ended with it.

They are no servers: a process reads texts from a pipe and writes vectors to another, and ends when its pipe does, so
that none outlives this process. One that ends by itself fails the ingest with its number and the reason; the batch
that it had has not reached the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sibyl_runtime.errors import IngestError, SibylError, StartupError, StepFailed
from sibyl_runtime.providers.embedding.frames import HEADER, Kind, framed
from sibyl_runtime.providers.protocols import BulkSettings, EmbedDocuments, Vectors

if TYPE_CHECKING:
    from sibyl_runtime.workspace import EmbeddingProvider

PROCESS_MODULE = "sibyl_runtime.providers.embedding.bulk_process"

_ERRORS: dict[str, type[SibylError]] = {kind.__name__: kind for kind in (IngestError, StartupError)}


@dataclass(frozen=True)
class ProcessModel:
    """What a process opens: `providers.embedding.<name>` of the workspace."""

    name: str
    provider: EmbeddingProvider


@contextlib.asynccontextmanager
async def in_processes(
    model: ProcessModel, settings: BulkSettings, *, tag: str, dimension: int
) -> AsyncIterator[EmbedDocuments]:
    """`settings.workers` processes, which take calls in turn. All have opened the model when the context begins."""
    processes = [EmbeddingProcess(number, settings.workers, dimension) for number in range(1, settings.workers + 1)]
    free: asyncio.Queue[EmbeddingProcess] = asyncio.Queue()

    async def embed(texts: Sequence[str]) -> Vectors:
        process = await free.get()
        try:
            return await process.embed(texts)
        finally:
            free.put_nowait(process)

    try:
        outcomes = await asyncio.gather(
            *(process.start(model, settings, tag) for process in processes), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for process in processes:
            free.put_nowait(process)
        yield embed
    finally:
        await asyncio.gather(*(process.close() for process in processes))


class EmbeddingProcess:
    """One process, asked one thing at a time. `number` counts from 1, of `workers`."""

    def __init__(self, number: int, workers: int, dimension: int) -> None:
        self._title = f"embedding worker {number} of {workers}"
        self._workers = workers
        self._dimension = dimension
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, model: ProcessModel, settings: BulkSettings, tag: str) -> None:
        """Start it and wait until its model is open. Raises StartupError when that fails, StepFailed when it ends."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", PROCESS_MODULE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C at a terminal goes to a whole group: this process is ended by its parent, after its batch or not.
            start_new_session=True,
        )
        wanted = {
            "name": model.name,
            "provider": model.provider.model_dump(mode="json", exclude_unset=True),
            "share": settings.workers,
            "free_memory": settings.free_memory,
        }
        ready = json.loads(await self._ask(Kind.SETTINGS, wanted, answer=Kind.READY))
        if ready["tag"] != tag:
            raise StartupError(f"{self._title} opened {ready['tag']} where {tag} is in use: the model's files changed")

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension). Raises IngestError for a text that is too long, StepFailed when it ends."""
        if not texts:
            return np.empty((0, self._dimension), dtype=np.float32)
        body = await self._ask(Kind.TEXTS, list(texts), answer=Kind.VECTORS)
        return np.frombuffer(body, dtype=np.float32).reshape(len(texts), self._dimension)

    async def close(self) -> None:
        """End it, whatever it is at. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def _ask(self, kind: Kind, question: Any, *, answer: Kind) -> bytes:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise StepFailed(f"{self._title} has ended")
        answered = False
        try:
            process.stdin.write(framed(kind, json.dumps(question).encode()))
            await process.stdin.drain()
            given, size = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
            body = await process.stdout.readexactly(size)
            answered = True
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._ended(process) from error
        finally:
            # What was asked and not heard to its end would be taken for the answer to the next question.
            if not answered:
                await self.close()
        if given == Kind.REFUSED:
            refusal = json.loads(body)
            raise _ERRORS.get(refusal["error"], StepFailed)(refusal["message"])
        if given != answer:
            raise StepFailed(f"{self._title} answered with a frame of kind {given}, not {int(answer)}")
        return body

    async def _ended(self, process: asyncio.subprocess.Process) -> StepFailed:
        code = await process.wait()
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was ended by signal {-code} ({signal.Signals(-code).name})"
        advice = "what it printed is in the log"
        if code == -signal.SIGKILL:
            advice = f"where memory is short, lower workers ({self._workers}) or batch_size of rag.embedding"
        return StepFailed(
            f"{self._title} (process {process.pid}) {how}; {advice}. Nothing of its batch was stored",
            details={"process": process.pid, "exit_code": code},
        )
