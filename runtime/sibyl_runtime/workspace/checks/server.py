"""Checks of the server."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding


def ports_differ(context: Context) -> Iterator[Finding]:
    """The tools and the metrics are served on ports of their own."""
    workspace = context.workspace
    if workspace.observability.metrics.enabled and workspace.observability.metrics.port == workspace.mcp.port:
        yield Finding(("observability", "metrics", "port"), f"must differ from mcp.port, found {workspace.mcp.port}")


def authentication_has_keys(context: Context) -> Iterator[Finding]:
    """Keys are what lets callers in."""
    authentication = context.workspace.mcp.authentication
    if authentication is None or authentication.type != "api_key":
        return
    if not authentication.keys and authentication.keys_file is None:
        yield Finding(
            ("mcp", "authentication", "keys"),
            "must hold at least one key, such as ${API_KEY}; without the section everybody may call",
        )
