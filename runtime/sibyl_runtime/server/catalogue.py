"""What clients read about the tools: the list, one tool in full, and each tool as an OpenAPI operation. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sibyl_runtime.errors import NotFound
from sibyl_runtime.workspace import Tool, ToolParameter

_SAMPLES: Mapping[str, Any] = {
    "string": "How do I ...?",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
}

STEP_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Depends on the technique; these mean the same for all.",
    "properties": {
        "skipped": {"type": "boolean", "description": "The step did not run: its condition was false."},
        "fallbacks": {
            "type": "array",
            "description": "What the step did without, in order.",
            "items": {
                "type": "object",
                "required": ["from", "to", "reason", "message"],
                "properties": {
                    "from": {"type": "string", "description": "What failed: a provider, or the step itself."},
                    "to": {"type": ["string", "null"], "description": "What took its place; null: nothing."},
                    "reason": {"type": "string", "description": "The code of the error."},
                    "message": {"type": "string"},
                },
            },
        },
        "provider": {"type": ["string", "null"], "description": "Which language model answered; null: none was asked."},
        "model": {"type": ["string", "null"]},
        "attempts": {"type": "integer", "description": "How often the model was sent the request."},
        "tokens": {"type": "integer"},
        "cost_usd": {"type": ["number", "null"], "description": "null: not known"},
        "unanswered": {"enum": ["nothing_found", "not_searched"], "description": "Why no model was asked."},
    },
}
RESPONSE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["output", "metadata"],
    "properties": {
        "output": {
            "type": "object",
            "required": ["answer", "sources"],
            "properties": {
                "answer": {"type": ["string", "null"]},
                "sources": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["title", "content", "score"],
                        "properties": {
                            "title": {"type": "string"},
                            "content": {"type": "string"},
                            "score": {"type": "number"},
                            "document": {"type": "string"},
                            "heading": {"type": "string"},
                            "metadata": {"type": "object"},
                            "rerank_score": {"type": "number"},
                        },
                    },
                },
                "structured": {
                    "type": ["object", "null"],
                    "description": "The answer as an object, of a pipeline that is told its schema.",
                },
            },
        },
        "metadata": {
            "type": "object",
            "required": ["tool", "execution_time_ms", "tokens_used", "cost_usd", "stages", "cache", "request_id"],
            "properties": {
                "tool": {"type": "string"},
                "execution_time_ms": {"type": "number"},
                "tokens_used": {"type": "integer"},
                "cost_usd": {"type": ["number", "null"], "description": "null: the price of the model is not known"},
                "stages": {"type": "object", "additionalProperties": {"type": "number"}},
                "steps": {
                    "type": "object",
                    "additionalProperties": STEP_SCHEMA,
                    "description": "By step, what it tells of how it worked; not there for an answer from the cache.",
                },
                "cache": {"enum": ["hit", "miss", "off"]},
                "request_id": {"type": "string"},
            },
        },
    },
}
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        },
        "request_id": {"type": "string"},
    },
}


class ToolsQuery(BaseModel):
    """Which tools to list, and in which order."""

    model_config = ConfigDict(extra="forbid")

    category: str | None = None
    tags: list[str] = Field([], description="A tool must have all of them; several, or one list with commas.")
    sort: Literal["name", "category", "version"] = "name"
    order: Literal["asc", "desc"] = "asc"
    page: int = Field(1, ge=1, description="Counts from 1.")
    per_page: int = Field(1000, ge=1, le=1000)


def find_tool(tools: Mapping[str, Tool], name: str) -> Tool:
    """The tool called `name`. Raises NotFound naming the nearest, or all."""
    tool = tools.get(name)
    if tool is not None:
        return tool
    near = get_close_matches(name.lower().replace("-", "_"), tools, n=1)
    known = ", ".join(sorted(tools)) or "none"
    hint = f'Did you mean "{near[0]}"?' if near else f"Tools: {known}."
    raise NotFound(f'There is no tool "{name[:100]}". {hint}', details={"tools": sorted(tools)})


def summary(tool: Tool) -> dict[str, Any]:
    """One tool as it stands in the list."""
    return {
        "name": tool.name,
        "description": tool.description,
        "version": tool.version,
        "parameters": {name: _parameter(tool, name, spec) for name, spec in tool.parameters.items()},
        "metadata": {"category": tool.category, "tags": tool.tags},
    }


def detail(tool: Tool) -> dict[str, Any]:
    """One tool in full: with its parameters as one schema, a call to try and the shape of the answer."""
    return {
        **summary(tool),
        "input_schema": input_schema(tool),
        "examples": [example(tool)],
        "response_schema": RESPONSE_SCHEMA,
    }


def example(tool: Tool) -> dict[str, Any]:
    """The arguments of a smallest call: every required parameter with a value of its kind."""
    return {name: _sample(spec) for name, spec in tool.parameters.items() if spec.required}


def page(tools: Sequence[Tool], query: ToolsQuery) -> list[dict[str, Any]]:
    """The tools of a category that have all tags asked for, sorted, one page of them."""
    tags = {tag for given in query.tags for tag in given.split(",")}
    chosen = [t for t in tools if (query.category in (None, t.category)) and tags <= set(t.tags)]
    chosen.sort(key=lambda tool: (str(getattr(tool, query.sort) or ""), tool.name), reverse=query.order == "desc")
    return [summary(tool) for tool in chosen[(query.page - 1) * query.per_page : query.page * query.per_page]]


def input_schema(tool: Tool) -> dict[str, Any]:
    """The tool's parameters as one JSON Schema."""
    return {
        "type": "object",
        "properties": {name: _schema(spec, _default(tool, name, spec)) for name, spec in tool.parameters.items()},
        "required": [name for name, spec in tool.parameters.items() if spec.required],
        "additionalProperties": False,
    }


def operations(tools: Sequence[Tool]) -> dict[str, Any]:
    """OpenAPI paths: a POST for each tool, so that a generated client knows each tool's parameters."""
    failure = {"description": "Error", "content": {"application/json": {"schema": ERROR_SCHEMA}}}
    return {
        f"/mcp/tools/{tool.name}": {
            "post": {
                "summary": tool.description,
                "operationId": f"call_{tool.name}",
                "tags": ["tools"],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": input_schema(tool), "example": example(tool)}},
                },
                "responses": {
                    "200": {"description": "Answer", "content": {"application/json": {"schema": RESPONSE_SCHEMA}}},
                    "4XX": failure,
                    "5XX": failure,
                },
            }
        }
        for tool in tools
    }


def _parameter(tool: Tool, name: str, spec: ToolParameter) -> dict[str, Any]:
    described = {"type": spec.type, "description": spec.description, "required": spec.required}
    return described | _schema(spec, _default(tool, name, spec))


def _schema(spec: ToolParameter, default: dict[str, Any]) -> dict[str, Any]:
    schema = spec.model_dump(exclude={"required", "default", "items", "properties"}, exclude_none=True)
    if spec.type == "integer":
        schema |= {key: int(schema[key]) for key in ("minimum", "maximum") if key in schema}
    if spec.items is not None:
        schema["items"] = _schema(spec.items, {})
    if spec.properties is not None:
        schema["properties"] = {name: _schema(inner, {}) for name, inner in spec.properties.items()}
        schema["required"] = [name for name, inner in spec.properties.items() if inner.required]
        schema["additionalProperties"] = False
    return schema | default


def _default(tool: Tool, name: str, spec: ToolParameter) -> dict[str, Any]:
    if name in tool.defaults:
        return {"default": tool.defaults[name]}
    return {"default": spec.default} if spec.has_default else {}


def _sample(spec: ToolParameter) -> Any:
    if spec.has_default:
        return spec.default
    if spec.enum:
        return spec.enum[0]
    if spec.type == "object":
        return {name: _sample(inner) for name, inner in (spec.properties or {}).items() if inner.required}
    if spec.minimum is not None:
        return int(spec.minimum) if spec.type == "integer" else spec.minimum
    return _SAMPLES[spec.type]
