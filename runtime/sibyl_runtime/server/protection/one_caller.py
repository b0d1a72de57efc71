"""Rates where there is one caller and no request: over stdin and stdout each call of a tool is counted."""

from __future__ import annotations

from collections.abc import Callable

from sibyl_runtime.server.protection.buckets import Buckets
from sibyl_runtime.server.protection.callers import Requester
from sibyl_runtime.server.protection.guard import GuardedRuntime
from sibyl_runtime.server.protection.installation import buckets_of
from sibyl_runtime.server.protection.middleware import Rates
from sibyl_runtime.server.seam import ServedRuntime

CALLER = Requester(caller=None, bucket="stdio")


class LimitedRuntime(GuardedRuntime):
    """A ServedRuntime that keeps `mcp.rate_limiting` and the `rate_limit` of each tool for its one caller.

    With storage redis all processes of that workspace over stdio share one bucket.
    """

    def __init__(self, runtime: ServedRuntime, rates: Rates, buckets: Buckets) -> None:
        super().__init__(runtime, rates)
        self._buckets = buckets

    @classmethod
    def of(cls, runtime: ServedRuntime, refused: Callable[[], None]) -> LimitedRuntime:
        """With the rates of its workspace. `refused` is called for each call over its rate. Raises StartupError."""
        buckets = buckets_of(runtime)
        return cls(runtime, Rates(runtime.workspace.mcp.rate_limiting, buckets, (), refused), buckets)

    async def admit(self, tool: str) -> None:
        """Raises RateLimited."""
        await self._rates.take(CALLER)
        limit = self._limits.get(tool)
        if limit is not None:
            await self._rates.take_call(CALLER, tool, limit)

    async def close_buckets(self) -> None:
        """Release their connections; the runtime is its opener's to close."""
        await self._buckets.close()
