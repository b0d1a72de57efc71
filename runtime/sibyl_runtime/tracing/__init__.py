"""Spans of tool calls: one seam with a default that does nothing, so that OpenTelemetry is loaded only where it is on.

What is traced is decided once, when the parts are put together: untraced, no part has anything in front of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Final, Protocol

from sibyl_runtime.errors import StartupError
from sibyl_runtime.pipeline.context import Services
from sibyl_runtime.techniques.technique import Technique
from sibyl_runtime.workspace import Workspace

__all__ = ["TRACE_ID", "UNTRACED", "CallFacts", "Tracing", "Untraced", "open_tracing"]

TRACE_ID: ContextVar[str | None] = ContextVar("sibyl_trace_id", default=None)
"""The trace that is recorded of the call being answered, 32 hexadecimal digits, for the log; None without one."""


class CallFacts(Protocol):
    """What a span tells of a tool call. `tool` and what concerns the cache may be known only when it ends."""

    id: str
    tool: str | None
    cache: str | None
    cache_kind: str | None
    similarity: float | None
    trace_id: str | None
    headers: Sequence[tuple[bytes, bytes]]


class Tracing(Protocol):
    """What a process records of its tool calls."""

    def call(self, facts: CallFacts) -> AbstractContextManager[None]:
        """The span of a tool call, around it; continues the `traceparent` among the headers. Sets `facts.trace_id`."""

    def services(self, services: Services) -> Services:
        """The same services, with spans around their calls."""

    def techniques(self, registry: Mapping[str, Technique]) -> Mapping[str, Technique]:
        """The same techniques, with a span around each step."""

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""


class Untraced:
    """Records nothing."""

    def call(self, facts: CallFacts) -> AbstractContextManager[None]:
        """See Tracing."""
        return _NOTHING

    def services(self, services: Services) -> Services:
        """See Tracing."""
        return services

    def techniques(self, registry: Mapping[str, Technique]) -> Mapping[str, Technique]:
        """See Tracing."""
        return registry

    async def close(self) -> None:
        """See Tracing."""


_NOTHING: Final = contextlib.nullcontext()
UNTRACED: Final = Untraced()


def open_tracing(workspace: Workspace, environ: Mapping[str, str]) -> Tracing:
    """What `observability.tracing` asks for; OTEL_SDK_DISABLED=true switches it off, as everywhere.

    Raises StartupError without the extra, and for settings of the environment that cannot be used.
    """
    settings = workspace.observability.tracing
    if settings is None or not settings.enabled or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return UNTRACED
    try:
        from sibyl_runtime.tracing.recording import Recording
    except ImportError as error:
        raise StartupError(
            f"observability.tracing needs OpenTelemetry's SDK ({error}); run `pip install 'sibyl-operator[otel]'`, "
            "use an image that carries it, or remove observability.tracing"
        ) from error
    return Recording(workspace, settings)
