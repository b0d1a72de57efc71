"""The streaming routes and /v1/chat/completions as OpenAPI operations. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.server.catalogue import ERROR_SCHEMA, example, input_schema
from sibyl_runtime.workspace import Tool

_FAILURE = {"description": "Error", "content": {"application/json": {"schema": ERROR_SCHEMA}}}
_EVENT_TEXT = {"text/event-stream": {"schema": {"type": "string"}}}
_EVENTS = {
    "description": "Server-Sent Events: start, stage, sources, chunk, metadata, end; error when it fails on the way",
    "content": _EVENT_TEXT,
}
_CHAT = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string", "description": "The name of a tool, or of the workspace."},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
            },
            "description": "The last one with the role user is the question; the others are not read.",
        },
        "stream": {"type": "boolean"},
        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
    },
}
_OPENAI_FAILURE = {
    "description": "Error in OpenAI's form",
    "content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}},
}


def operations(tools: Sequence[Tool]) -> dict[str, Any]:
    """A POST for the stream of each tool, and one for chat completions."""
    streams = {f"/mcp/tools/{tool.name}/stream": _stream(tool) for tool in tools}
    return {**streams, "/v1/chat/completions": _chat()}


def _stream(tool: Tool) -> Mapping[str, Any]:
    content = {"application/json": {"schema": input_schema(tool), "example": example(tool)}}
    return {
        "post": {
            "summary": f"{tool.description} Told while it is made.",
            "operationId": f"stream_{tool.name}",
            "tags": ["tools"],
            "requestBody": {"required": True, "content": content},
            "responses": {"200": _EVENTS, "4XX": _FAILURE, "5XX": _FAILURE},
        }
    }


def _chat() -> Mapping[str, Any]:
    completion = {"application/json": {"schema": {"type": "object"}}, **_EVENT_TEXT}
    return {
        "post": {
            "summary": "Ask an answering tool in OpenAI's form",
            "operationId": "create_chat_completion",
            "tags": ["openai"],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _CHAT}}},
            "responses": {
                "200": {"description": "A chat completion, or its chunks", "content": completion},
                "4XX": _OPENAI_FAILURE,
                "5XX": _OPENAI_FAILURE,
            },
        }
    }
