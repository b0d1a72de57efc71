"""Reading what a tool answered to the official MCP client."""

from __future__ import annotations

from typing import Any

from mcp_types import CallToolResult, TextContent

from sibyl_runtime.server.mcp_server import ERROR_META


def texts(result: CallToolResult) -> list[str]:
    """Its blocks, which all are text."""
    blocks = [block.text for block in result.content if isinstance(block, TextContent)]
    assert len(blocks) == len(result.content)
    return blocks


def told_error(result: CallToolResult) -> dict[str, Any]:
    """What a result with isError tells beside its text."""
    assert result.is_error
    assert result.structured_content is None
    return dict((result.meta or {})[ERROR_META])
