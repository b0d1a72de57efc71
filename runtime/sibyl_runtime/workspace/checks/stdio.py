"""Checks of a server over stdin and stdout: what only means something over HTTP is refused there, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sibyl_runtime.workspace.checks.context import Context, Finding

_HTTP_ONLY: Final = (
    "host",
    "port",
    "authentication",
    "transport_security",
    "max_request_size",
    "ingestion",
    "page",
    "compression",
    "cdn",
    "cors",
)
# Over stdio there is one caller, who has neither key nor address.
_TELLS_CALLERS_APART: Final = ("by_api_key", "by_ip", "trusted_proxies")
_REMOVE: Final = "has no effect with mcp.transport: stdio, which has no HTTP; remove it, or set transport: http"


def http_settings_need_http(context: Context) -> Iterator[Finding]:
    """No setting of HTTP may stand beside `transport: stdio`, as if it protected something."""
    workspace = context.workspace
    if workspace.mcp.transport != "stdio":
        return
    for name in _HTTP_ONLY:
        if name in workspace.mcp.model_fields_set:
            yield Finding(("mcp", name), _REMOVE)
    limiting = workspace.mcp.rate_limiting
    for name in _TELLS_CALLERS_APART if limiting is not None else ():
        if limiting is not None and name in limiting.model_fields_set:
            yield Finding(
                ("mcp", "rate_limiting", name),
                "has no effect with mcp.transport: stdio, which has one caller; remove it",
            )
    if workspace.observability.metrics.enabled and "port" in workspace.observability.metrics.model_fields_set:
        yield Finding(("observability", "metrics", "port"), _REMOVE)
