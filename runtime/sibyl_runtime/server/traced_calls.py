"""Tool calls with a span around each, whichever wire they came by."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.server.calls import Call, ReadArguments, ToolCalls
from sibyl_runtime.server.request import RequestFacts
from sibyl_runtime.server.seam import ServedRuntime
from sibyl_runtime.tracing import UNTRACED, Tracing


class TracedToolCalls(ToolCalls):
    """ToolCalls that are recorded, those that fail too."""

    def __init__(self, runtime: ServedRuntime, metrics: RuntimeMetrics, tracing: Tracing) -> None:
        super().__init__(runtime, metrics)
        self._tracing = tracing

    async def answer(
        self,
        name: str,
        facts: RequestFacts,
        read: ReadArguments,
        watched: AbstractAsyncContextManager[None],
        call: Call | None = None,
    ) -> ToolOutcome:
        """See ToolCalls."""
        with self._tracing.call(facts):
            return await super().answer(name, facts, read, watched, call)


def tool_calls(runtime: ServedRuntime, metrics: RuntimeMetrics, tracing: Tracing) -> ToolCalls:
    """The calls of a process: untraced, nothing is in front of them."""
    return ToolCalls(runtime, metrics) if tracing is UNTRACED else TracedToolCalls(runtime, metrics, tracing)
