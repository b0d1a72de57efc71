"""The composition root of the data plane: opens every part, answers tool calls, ingests, reports health, closes.

The server and the command line use it alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sibyl_runtime import __version__
from sibyl_runtime.answering import EXACT, AnswerReuse, ToolOutcome, outcome_of
from sibyl_runtime.cache import ANSWERS, AnswerIdentity, Asked, Cache, RedisServer, SemanticCache, answer_key
from sibyl_runtime.errors import NotFound
from sibyl_runtime.health import HealthChecks, overall
from sibyl_runtime.ingestion import IndexCare, IngestReport, receiving_parameters, report_of, turn
from sibyl_runtime.opening import (
    described,
    identity_of,
    kept_of_searches,
    local_models,
    open_caches,
    open_semantic,
    open_services,
    shared_questions,
)
from sibyl_runtime.parts import Parts
from sibyl_runtime.pipeline.asking import Answered, Ask, Outcome
from sibyl_runtime.pipeline.context import Deadline, Progress, Services
from sibyl_runtime.pipeline.corpus_version import CorpusVersion
from sibyl_runtime.pipeline.engine import PipelineEngine, invalid_arguments
from sibyl_runtime.pipeline.listening import Listener
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.settings import Settings
from sibyl_runtime.store.records import IdRange
from sibyl_runtime.streaming import Narration, piece_size
from sibyl_runtime.techniques.receive_documents import GivenDocuments, ReceiveDocuments
from sibyl_runtime.workspace import (
    ArgumentsInvalid,
    SourceDocument,
    Tool,
    Workspace,
    effective_hash,
    parse_workspace,
    validate_arguments,
    validate_parameters,
)

__all__ = ["IngestReport", "Instrument", "Runtime", "Settings", "ToolOutcome"]

Instrument = Callable[[Services], Services]
"""Puts something in front of the services, such as counters, before anything uses them."""

NO_DEADLINE = Deadline.after(None)
SOURCES_SHOWN = 10


class Runtime:
    """One open workspace. Made by `open`; `close` ends everything that it started."""

    def __init__(
        self,
        workspace: Workspace,
        source: SourceDocument,
        services: Services,
        caches: Mapping[str, Cache],
        version: CorpusVersion,
        *,
        identity: str,
        description: tuple[str, ...],
        on_close: contextlib.AsyncExitStack,
        semantic: SemanticCache | None = None,
        redis: RedisServer | None = None,
    ) -> None:
        self.workspace = workspace
        self.source = source
        self.config_hash = effective_hash(source.raw)
        self.services = services
        self.caches = caches
        """By the kind of what they keep."""
        self.engine = PipelineEngine(services)
        self.description = description
        """What is open, in a few words each, for people and logs; no secrets."""
        self._identity = identity
        self._on_close = on_close
        self._semantic = semantic
        self._reuse = AnswerReuse(caches[ANSWERS], semantic) if ANSWERS in caches else None
        self._version = version
        self._ingesting = asyncio.Lock()
        self._index = IndexCare(services.store.ensure_index)
        on_close.push_async_callback(self._index.close)
        self._opened_at = time.monotonic()
        parts = Parts(services, caches, redis)
        on_close.push_async_callback(parts.close)
        self._health = HealthChecks(parts.checks())

    @classmethod
    async def open(
        cls,
        source: SourceDocument,
        environ: Mapping[str, str],
        settings: Settings,
        *,
        instrument: Instrument = lambda services: services,
    ) -> Runtime:
        """Read the document and open what it asks for; a failure closes what was open.

        Raises WorkspaceInvalid for the document, StartupError for a part that cannot be opened as configured.
        """
        workspace = parse_workspace(source.raw, source=source.source, lines=source.lines, environ=environ)
        async with contextlib.AsyncExitStack() as stack:
            opened = open_caches(workspace, settings, stack)
            caches = opened.kinds
            services, location = await open_services(workspace, settings, stack)
            identity, version = identity_of(source, environ, settings, workspace), CorpusVersion(services.store)
            services = replace(services, kept=kept_of_searches(caches, services, identity, version))
            instrumented = shared_questions(instrument(services))
            return cls(
                workspace,
                source,
                instrumented,
                caches,
                version,
                identity=identity,
                description=described(workspace, services, location, caches),
                semantic=await open_semantic(
                    workspace, instrumented.embedder, opened.redis, stack, instrumented.kept.vectors
                ),
                redis=opened.redis,
                on_close=stack.pop_all(),
            )
        raise AssertionError("unreachable: the stack does not swallow errors")  # for the type checker

    async def call_tool(
        self, tool: str, arguments: Mapping[str, Any], *, deadline: Deadline, listener: Listener | None = None
    ) -> ToolOutcome:
        """Answer a call, from the cache where it holds the answer.

        A `listener` hears sources, then the text of the answer in parts, wherever it comes from, before this returns.

        Raises NotFound, InvalidParameters with all problems, DeadlineExceeded naming the stage, other SibylErrors.
        """
        found = self._tool(tool)
        try:
            parameters = validate_arguments(found, arguments)
        except ArgumentsInvalid as error:
            raise invalid_arguments(error) from error

        if listener is not None:
            return await self._tell_answer(found, parameters, listener, deadline)

        async def compute() -> PipelineResult:
            return await self.engine.run(found.pipeline, parameters, deadline=deadline)

        if self._reuse is None:
            return outcome_of(await compute(), cache="off")
        identity = await self._identity_of(found, parameters)
        return await self._reuse.answer(answer_key(identity), compute, deadline=deadline, asked=self._asked(identity))

    async def _tell_answer(
        self, tool: Tool, parameters: Mapping[str, Any], listener: Listener, deadline: Deadline
    ) -> ToolOutcome:
        narration = Narration(listener)

        async def compute() -> PipelineResult:
            return await self.engine.run(tool.pipeline, parameters, deadline=deadline, listener=narration)

        if self._reuse is None:
            outcome = outcome_of(await compute(), cache="off")
        else:
            identity = await self._identity_of(tool, parameters)
            outcome = await self._reuse.answer_to_a_reader(
                answer_key(identity), compute, deadline=deadline, asked=self._asked(identity)
            )
        await narration.complete(outcome, piece_size(self.workspace, tool.pipeline, parameters))
        return outcome

    async def run_pipeline(
        self,
        pipeline: str,
        parameters: Mapping[str, Any],
        *,
        deadline: Deadline,
        progress: Progress | None = None,
        ask: Ask | None = None,
    ) -> PipelineResult:
        """Run a pipeline as it is, and not as a tool. Steps that call tools do it by `ask`; None: as callers do."""
        return await self.engine.run(pipeline, parameters, deadline=deadline, progress=progress, ask=ask or self.ask)

    async def ask(self, tool: str, arguments: Mapping[str, Any], deadline: Deadline) -> Answered:
        """A call whose answer is made to be kept, and read by nobody: it has the time of a call. Whether it is kept is
        looked at. Raises as `call_tool` does."""
        deadline = deadline.capped(self.workspace.mcp.timeout)
        outcome = await self.call_tool(tool, arguments, deadline=deadline)
        found = self._tool(tool)
        identity = await self._identity_of(found, validate_arguments(found, arguments))
        asked = self._asked(identity)
        if self._semantic is not None and asked is not None and outcome.reuse == EXACT:
            await self._semantic.learn(asked, timeout=deadline.remaining())
        became = _became(outcome)
        if became == "computed" and self._reuse is not None and not await self._reuse.holds(answer_key(identity)):
            became = "lost"
        return Answered(became, outcome.tokens_used, outcome.cost_usd)

    async def corpus_version(self) -> int:
        """The version of what is stored, about a second old at most. Raises as VectorStore.counts does."""
        return await self._version.current()

    async def ingest(
        self,
        path: str | None,
        *,
        pipeline: str = "ingest",
        progress: Progress | None = None,
        deadline: Deadline = NO_DEADLINE,
    ) -> IngestReport:
        """Bring the collection up to date with `path`, or with the path that the pipeline names; one at a time.

        Raises IngestError when there is nothing to ingest; nothing has changed then.
        """
        started = time.perf_counter()
        self.engine.plan(pipeline)
        try:
            parameters = validate_parameters(self.workspace, pipeline, {} if path is None else {"path": path})
        except ArgumentsInvalid as error:
            raise invalid_arguments(error) from error
        async with self._ingesting:
            try:
                result = await self.engine.run(pipeline, parameters, deadline=deadline, progress=progress)
            finally:
                self._version.forget()
        return report_of(result, time.perf_counter() - started)

    async def store_documents(self, given: GivenDocuments, *, pipeline: str, deadline: Deadline) -> IngestReport:
        """Bring what the collection holds of these documents up to date, by a pipeline whose loading they replace.

        Nothing is removed. What was stored stays stored when this fails or the deadline passes, so that the same
        documents may be given again. Raises as `ingest` does, Overloaded, and DeadlineExceeded.
        """
        started = time.perf_counter()
        parameters = receiving_parameters(self.workspace, pipeline, given.source)
        loader = ReceiveDocuments(given)
        async with turn(self._ingesting, deadline):
            try:
                result = await self.engine.run(pipeline, parameters, deadline=deadline, instead={loader.id: loader})
            finally:
                self._version.forget()
        report = report_of(result, time.perf_counter() - started)
        if report.documents:
            self._index.ask()
        return report

    async def prune_documents(
        self, source: str, keep: Sequence[str], *, within: IdRange, deadline: Deadline
    ) -> IngestReport:
        """Remove the documents of `source` that are not in `keep`, of those with an id `within` a range."""
        started = time.perf_counter()
        async with turn(self._ingesting, deadline):
            try:
                async with asyncio.timeout(deadline.remaining()):
                    removed = await self.services.store.remove_missing(source, keep, within)
            except TimeoutError as error:
                raise deadline.exceeded("remove") from error
            finally:
                self._version.forget()
        if removed:
            self._index.ask()
        return IngestReport(0, 0, 0, 0, removed, time.perf_counter() - started)

    async def forget(self, source: str) -> int:
        """Remove every document that came from `source`; how many. Raises NotFound naming the sources there are."""
        async with self._ingesting:
            try:
                removed = await self.services.store.remove_missing(source, [], IdRange())
            finally:
                self._version.forget()
        if not removed:
            known = await self.services.store.sources()
            shown = ", ".join(list(known)[:SOURCES_SHOWN]) or "none"
            more = f" and {len(known) - SOURCES_SHOWN} more" if len(known) > SOURCES_SHOWN else ""
            raise NotFound(f"the collection has no documents from source {source}; its sources: {shown}{more}")
        return removed

    async def health(self) -> Mapping[str, Any]:
        """The documented health document; each part checked at most once a second, and for less than a second."""
        checks = await self._health.results()
        return {
            "status": overall(checks),
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - self._opened_at, 1),
            "checks": checks,
        }

    async def close(self) -> None:
        """Close every part, last opened first. May be called twice."""
        await self._on_close.aclose()

    def _tool(self, name: str) -> Tool:
        tools = self.workspace.effective_tools
        if name not in tools:
            known = ", ".join(sorted(tools)) or "none"
            raise NotFound(f"there is no tool `{name}`; known: {known}", details={"tool": name, "known": sorted(tools)})
        return tools[name]

    async def _identity_of(self, tool: Tool, parameters: Mapping[str, Any]) -> AnswerIdentity:
        return AnswerIdentity(
            workspace=self.workspace.name,
            tool=tool.name,
            pipeline=self._identity,
            corpus_version=await self._version.current(),
            embedder=local_models(self.services),
            llm=self.services.default_language_model,
            arguments=parameters,
        )

    def _asked(self, identity: AnswerIdentity) -> Asked | None:
        return None if self._semantic is None else self._semantic.asked(identity)


def _became(outcome: ToolOutcome) -> Outcome:
    if outcome.cache == "hit":
        return "found"
    if not outcome.output["sources"]:
        return "empty"
    return "computed" if outcome.reusable else "unkept"
