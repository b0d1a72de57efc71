"""The server that the conformance suite expects, with its tools, on the very endpoint that serves a workspace.

What it has beyond a workspace are the tools that the suite calls by name. Resources, prompts and what a server asks of
a client are not on offer in a workspace, nor here: expected_failures/ names their scenarios.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from mcp.server import Server
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette

from sibyl_runtime.kpi import RuntimeMetrics
from sibyl_runtime.server.mcp_http import McpEndpoint
from sibyl_runtime.server.telemetry import Telemetry
from sibyl_runtime.workspace import Mcp

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
IMAGE = types.ImageContent(data=PIXEL, mime_type="image/png")
RESOURCE = types.EmbeddedResource(
    resource=types.TextResourceContents(
        uri="test://embedded-resource", mime_type="text/plain", text="This is an embedded resource content."
    )
)


def _text(text: str) -> types.TextContent:
    return types.TextContent(text=text)


ANSWERS: Mapping[str, Sequence[types.ContentBlock]] = {
    "test_simple_text": [_text("This is a simple text response for testing.")],
    "test_image_content": [IMAGE],
    "test_audio_content": [types.AudioContent(data=SILENCE, mime_type="audio/wav")],
    "test_embedded_resource": [RESOURCE],
    "test_multiple_content_types": [
        _text("Multiple content types test:"),
        IMAGE,
        types.EmbeddedResource(
            resource=types.TextResourceContents(
                uri="test://mixed-content-resource",
                mime_type="application/json",
                text='{"test": "data", "value": 123}',
            )
        ),
    ],
    "test_error_handling": [_text("This tool intentionally returns an error for testing")],
    "json_schema_2020_12_tool": [_text("ok")],
    "test_x_mcp_header": [_text("ok")],
}
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
SCHEMAS: Mapping[str, dict[str, Any]] = {
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
    "test_x_mcp_header": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "query": {"type": "string"}},
    },
}


async def _list_tools(_: Any, __: Any) -> types.ListToolsResult:
    return types.ListToolsResult(
        tools=[
            types.Tool(name=name, description=name, input_schema=SCHEMAS.get(name, NO_PARAMETERS)) for name in ANSWERS
        ]
    )


async def _call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    content = ANSWERS.get(params.name)
    if content is None:
        raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name}.")
    return types.CallToolResult(content=list(content), is_error=params.name == "test_error_handling")


def application(metrics: RuntimeMetrics) -> Telemetry:
    """The endpoint at /mcp, below the layer that every application of the runtime has."""
    server: Server[Any] = Server("conformance", version="1.0.0", on_list_tools=_list_tools, on_call_tool=_call_tool)
    endpoint = McpEndpoint(lambda: server, Mcp())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with endpoint.running():
            yield

    return Telemetry(Starlette(routes=[endpoint.route()], lifespan=lifespan), metrics)
