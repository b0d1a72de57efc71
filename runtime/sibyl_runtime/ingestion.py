"""What an ingest needs that is fed by requests: a pipeline that fits, its turn, the care of the index; its report."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sibyl_runtime.errors import IngestError, InvalidParameters, NotFound, Overloaded, SibylError
from sibyl_runtime.pipeline.context import Deadline, SkippedFile
from sibyl_runtime.pipeline.engine import invalid_arguments
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.techniques.load_documents import LOADER
from sibyl_runtime.techniques.store_vectors import StoreVectors
from sibyl_runtime.workspace import (
    ArgumentsInvalid,
    LoadDocumentsConfig,
    Step,
    Workspace,
    WorkspaceInvalid,
    step_config,
    technique,
    validate_parameters,
)

logger = logging.getLogger(__name__)


def receiving_parameters(workspace: Workspace, pipeline: str, source: str) -> dict[str, object]:
    """The parameters of a run of `pipeline` over documents of `source` that a client gives.

    A `path` that the pipeline requires is the name of the source. Raises NotFound, and InvalidParameters for a
    pipeline that does not load and store documents exactly once, or that needs parameters of its own.
    """
    plan = workspace.effective_pipelines.get(pipeline)
    if plan is None:
        known = ", ".join(sorted(workspace.effective_pipelines))
        raise NotFound(f"there is no pipeline `{pipeline}`; known: {known}", details={"pipeline": pipeline})
    for wanted in (LOADER, StoreVectors.id):
        number = sum(technique(step.use).id == wanted for step in plan.all_steps)
        if number != 1:
            raise InvalidParameters(
                f"pipeline: `{pipeline}` has {number} steps {wanted}; a pipeline that takes documents has exactly one",
                details={"pipeline": pipeline},
            )
    declared = plan.parameters.get("path")
    given = {"path": source} if declared is not None and declared.required else {}
    try:
        return validate_parameters(workspace, pipeline, given)
    except ArgumentsInvalid as error:
        raise invalid_arguments(error) from error


def loading_settings(workspace: Workspace, pipeline: str) -> LoadDocumentsConfig:
    """How the pipeline reads files: for a client that reads them in its place. Raises as receiving_parameters does."""
    parameters = receiving_parameters(workspace, pipeline, "settings")
    try:
        settings = step_config(workspace, pipeline, _loader(workspace, pipeline), parameters)
    except ArgumentsInvalid as error:
        raise invalid_arguments(error) from error
    except WorkspaceInvalid as error:
        raise InvalidParameters("; ".join(map(str, error.problems))) from error
    assert isinstance(settings, LoadDocumentsConfig)
    if settings.query is not None:  # and the address of its database is nobody's business
        raise InvalidParameters(
            f"pipeline: `{pipeline}` reads the rows of a query, not files; name a pipeline that reads files",
            details={"pipeline": pipeline},
        )
    return settings


def _loader(workspace: Workspace, pipeline: str) -> Step:
    steps = workspace.effective_pipelines[pipeline].all_steps
    return next(step for step in steps if technique(step.use).id == LOADER)


@contextlib.asynccontextmanager
async def turn(lock: asyncio.Lock, deadline: Deadline) -> AsyncIterator[None]:
    """Hold `lock`. Raises Overloaded when its turn does not come in time: nothing has begun then."""
    try:
        async with asyncio.timeout(deadline.remaining()):
            await lock.acquire()
    except TimeoutError:
        raise Overloaded("Another ingest is under way, and did not end in time; try again.", retry_after=5.0) from None
    try:
        yield
    finally:
        lock.release()


class IndexCare:
    """Sees to the index aside, so that no request waits for a build. One at a time; asked meanwhile, once more after.

    A build that fails is logged: searches go on without it, and the next change asks again.
    """

    def __init__(self, ensure: Callable[[], Awaitable[None]]) -> None:
        self._ensure = ensure
        self._task: asyncio.Task[None] | None = None
        self._wanted = False

    def ask(self) -> None:
        """The collection has changed."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Break off what is running."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self._ensure()
            except SibylError as error:
                logger.warning("the index could not be seen to", extra={"fields": {"reason": error.message}})


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did. `documents` and `chunks` were stored, `replaced` of them for a former version; `unchanged`
    cost nothing; `removed` are gone from the source. `skipped` names everything left out, with the reason.
    `copies` counts, by other source, the documents that it holds too, word for word."""

    documents: int
    chunks: int
    unchanged: int
    replaced: int
    removed: int
    seconds: float
    skipped: list[SkippedFile] = field(default_factory=list)
    copies: Mapping[str, int] = field(default_factory=dict)


def report_of(result: PipelineResult, seconds: float) -> IngestReport:
    """The report of a run that loaded documents. Raises IngestError when nothing was loaded."""
    ledgers = result.ledgers
    if not ledgers:
        raise IngestError(
            f"pipeline `{result.pipeline}` loads no documents; it has no step data.load_documents that ran"
        )
    copies: Counter[str] = sum((ledger.copies for ledger in ledgers), Counter())
    return IngestReport(
        documents=sum(ledger.stored for ledger in ledgers),
        chunks=sum(ledger.stored_chunks for ledger in ledgers),
        unchanged=sum(ledger.unchanged for ledger in ledgers),
        replaced=sum(ledger.replaced for ledger in ledgers),
        removed=sum(ledger.removed for ledger in ledgers),
        seconds=seconds,
        skipped=[skipped for ledger in ledgers for skipped in ledger.skipped],
        copies=dict(copies),
    )
