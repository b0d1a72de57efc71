"""One way for every tool call, whichever wire it came by: a place, a deadline, the pipeline, and its counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.requests import ClientDisconnect

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.cache import ANSWERS
from sibyl_runtime.errors import SibylError
from sibyl_runtime.kpi import SEMANTIC_CACHE, RuntimeMetrics
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.listening import Listener
from sibyl_runtime.server import catalogue
from sibyl_runtime.server.admission import ClientGone, ConcurrencyGate
from sibyl_runtime.server.request import RequestFacts
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.workspace import Tool, Workspace

# The pipeline keeps the deadline itself and names the stage that ran out of time. This is for what does not heed it.
OVERTIME_SECONDS = 0.25

ReadArguments = Callable[[], Awaitable[Mapping[str, Any]]]
Call = Callable[[str, Mapping[str, Any], Deadline], Awaitable[ToolOutcome]]


class ToolCalls:
    """The tools of a runtime, called within its limits. One per process: the places are shared by all wires."""

    def __init__(self, runtime: ServedRuntime, metrics: RuntimeMetrics) -> None:
        self.tools = offered_tools(runtime.workspace)
        self._runtime = runtime
        self._metrics = metrics
        self._timeout = runtime.workspace.mcp.timeout
        self.gate = ConcurrencyGate(runtime.workspace.mcp.max_concurrent_requests)

    async def answer(
        self,
        name: str,
        facts: RequestFacts,
        read: ReadArguments,
        watched: AbstractAsyncContextManager[None],
        call: Call | None = None,
    ) -> ToolOutcome:
        """Call the tool `name` with what `read` returns; `watched` surrounds the call itself.

        `call` is for wires that do more than wait for the outcome; it leads to `self.call`.

        Raises SibylError, and ClientGone or ClientDisconnect when the client left: all of them are counted here.
        """
        try:
            tool = catalogue.find_tool(self.tools, name)
            facts.tool = tool.name
            with self.gate:
                outcome = await self._within_deadline(tool.name, read, watched, call or self.call)
        except SibylError as error:
            self._failed(facts, error)
            raise
        except (ClientGone, ClientDisconnect):
            self.abandoned(facts)
            raise
        except Exception:
            self._failed(facts, SibylError("unexpected"))
            raise
        self._answered(facts, outcome)
        return outcome

    async def call(
        self, tool: str, arguments: Mapping[str, Any], deadline: Deadline, listener: Listener | None = None
    ) -> ToolOutcome:
        """The call itself, for the `call` of `answer`."""
        return await self._runtime.call_tool(tool, arguments, deadline=deadline, listener=listener)

    def began(self, facts: RequestFacts) -> None:
        """Note the time of an answer's first part."""
        assert facts.tool is not None
        self._metrics.tools.began(facts.tool, time.perf_counter() - facts.started)

    def abandoned(self, facts: RequestFacts) -> None:
        """Count a call whose client no longer waits."""
        if facts.tool is not None:
            self._metrics.tools.abandoned(facts.tool, time.perf_counter() - facts.started)

    async def _within_deadline(
        self, tool: str, read: ReadArguments, watched: AbstractAsyncContextManager[None], call: Call
    ) -> ToolOutcome:
        deadline = Deadline.after(self._timeout)
        stage = "receive"
        overtime = asyncio.timeout(self._timeout + OVERTIME_SECONDS)
        try:
            async with overtime:
                arguments = await read()
                stage = "call"
                async with watched:
                    return await call(tool, arguments, deadline)
        except TimeoutError:
            if not overtime.expired():
                raise
            raise deadline.exceeded(stage) from None

    def _failed(self, facts: RequestFacts, error: SibylError) -> None:
        if facts.tool is not None:
            self._metrics.tools.failed(facts.tool, error.code, error.status, time.perf_counter() - facts.started)

    def _answered(self, facts: RequestFacts, outcome: ToolOutcome) -> None:
        facts.cache = outcome.cache
        assert facts.tool is not None
        if outcome.reuse is not None:
            facts.cache_kind, facts.similarity = outcome.reuse.kind, outcome.reuse.similarity
        if self._metrics.caches is not None and outcome.cache != "off":
            if outcome.reuse is None:
                self._metrics.caches.missed()
            else:
                self._metrics.caches.hit(SEMANTIC_CACHE if outcome.reuse.kind == "semantic" else ANSWERS)
        self._metrics.tools.answered(facts.tool, time.perf_counter() - facts.started, outcome.tokens_used)


def offered_tools(workspace: Workspace) -> Mapping[str, Tool]:
    """The tools that clients may call: none when mcp.enabled is false."""
    return workspace.effective_tools if workspace.mcp.enabled else {}
