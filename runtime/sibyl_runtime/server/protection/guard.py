"""The runtime as one caller may use it: every way to a tool leads through here, whatever protocol asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import Forbidden
from sibyl_runtime.pipeline.context import Deadline, Services
from sibyl_runtime.pipeline.listening import Listener
from sibyl_runtime.runtime import IngestReport
from sibyl_runtime.server.document_schema import PRUNE, STORE
from sibyl_runtime.server.protection.callers import REQUESTER
from sibyl_runtime.server.protection.middleware import Rates
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.store.records import IdRange
from sibyl_runtime.techniques.receive_documents import GivenDocuments
from sibyl_runtime.workspace import SourceDocument, Workspace


class GuardedRuntime:
    """A ServedRuntime that asks, before each piece of work, whether its requester may have it done now."""

    def __init__(self, runtime: ServedRuntime, rates: Rates) -> None:
        self._runtime = runtime
        self._rates = rates
        tools = runtime.workspace.effective_tools.values()
        self._limits = {tool.name: tool.rate_limit for tool in tools if tool.rate_limit is not None}

    @property
    def workspace(self) -> Workspace:
        """The workspace in force."""
        return self._runtime.workspace

    @property
    def source(self) -> SourceDocument:
        """The document as it was read."""
        return self._runtime.source

    @property
    def config_hash(self) -> str:
        """The hash of that document."""
        return self._runtime.config_hash

    @property
    def services(self) -> Services:
        """The open parts."""
        return self._runtime.services

    async def call_tool(
        self, tool: str, arguments: Mapping[str, Any], *, deadline: Deadline, listener: Listener | None = None
    ) -> ToolOutcome:
        """Answer, or raise a SibylError; Forbidden or RateLimited before anything is done."""
        await self.admit(tool)
        return await self._runtime.call_tool(tool, arguments, deadline=deadline, listener=listener)

    async def store_documents(self, given: GivenDocuments, *, pipeline: str, deadline: Deadline) -> IngestReport:
        """Store documents, or raise a SibylError; Forbidden before anything is done."""
        await self.admit(STORE.name)
        return await self._runtime.store_documents(given, pipeline=pipeline, deadline=deadline)

    async def prune_documents(
        self, source: str, keep: Sequence[str], *, within: IdRange, deadline: Deadline
    ) -> IngestReport:
        """Remove documents, or raise a SibylError; Forbidden before anything is done."""
        await self.admit(PRUNE.name)
        return await self._runtime.prune_documents(source, keep, within=within, deadline=deadline)

    async def admit(self, tool: str) -> None:
        """Raises Forbidden or RateLimited. To be awaited once for each call, before its work begins."""
        requester = REQUESTER.get()
        if requester is None:
            return
        caller = requester.caller
        if caller is not None and not caller.may_call(tool):
            raise Forbidden(
                f'This key may not call "{tool}"; it may call {", ".join(caller.permissions) or "nothing"} '
                "(mcp.authentication.key_metadata)."
            )
        limit = self._limits.get(tool)
        if limit is not None:
            await self._rates.take_call(requester, tool, limit)

    async def health(self) -> Mapping[str, Any]:
        """The documented health document."""
        return await self._runtime.health()

    async def close(self) -> None:
        """Release everything."""
        await self._runtime.close()
