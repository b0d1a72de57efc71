"""Checks of tracing."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import found
from sibyl_runtime.workspace.text import refers_to_environment


def collector_is_an_address(context: Context) -> Iterator[Finding]:
    """Spans are sent by HTTP."""
    tracing = context.workspace.observability.tracing
    if tracing is None or tracing.endpoint is None or refers_to_environment(tracing.endpoint):
        return
    if not tracing.endpoint.startswith(("http://", "https://")):
        yield Finding(
            ("observability", "tracing", "endpoint"),
            f"must start with http:// or https://, such as http://otel-collector:4318, found {found(tracing.endpoint)}",
        )
