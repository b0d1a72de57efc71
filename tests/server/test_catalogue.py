"""What clients read about the tools."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.errors import NotFound
from sibyl_runtime.server import catalogue
from sibyl_runtime.server.catalogue import ToolsQuery
from sibyl_runtime.workspace import Tool
from tests.server.served import scripted, served

TOOLS = [
    Tool.model_validate(tool)
    for tool in (
        {"name": "zeta", "description": "Z", "pipeline": "search", "category": "search", "tags": ["a", "b"]},
        {"name": "alpha", "description": "A", "pipeline": "search", "category": "search", "tags": ["a"]},
        {"name": "mid", "description": "M", "pipeline": "search", "category": "admin", "version": "2.0.0"},
    )
]
PAGES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["alpha", "mid", "zeta"]),
    ({"order": "desc"}, ["zeta", "mid", "alpha"]),
    ({"sort": "category"}, ["mid", "alpha", "zeta"]),
    ({"sort": "version", "order": "desc"}, ["mid", "zeta", "alpha"]),
    ({"category": "search"}, ["alpha", "zeta"]),
    ({"tags": ["a"]}, ["alpha", "zeta"]),
    ({"tags": ["a,b"]}, ["zeta"]),
    ({"tags": ["a", "b"]}, ["zeta"]),
    ({"per_page": 2}, ["alpha", "mid"]),
    ({"per_page": 2, "page": 2}, ["zeta"]),
    ({"page": 9}, []),
]


@pytest.mark.parametrize(("query", "names"), PAGES, ids=str)
def test_the_list_is_filtered_sorted_and_paged(query: dict[str, Any], names: list[str]) -> None:
    assert [tool["name"] for tool in catalogue.page(TOOLS, ToolsQuery(**query))] == names


def test_a_default_of_the_tool_wins_over_that_of_the_parameter() -> None:
    tool = Tool.model_validate(
        {
            "name": "t", "description": "T", "pipeline": "search", "defaults": {"top_k": 7},
            "parameters": {"top_k": {"type": "integer", "default": 5, "minimum": 1, "maximum": 50}},
        }
    )  # fmt: skip
    assert catalogue.summary(tool)["parameters"]["top_k"] == {
        "type": "integer", "description": None, "required": False, "minimum": 1, "maximum": 50, "default": 7,
    }  # fmt: skip


def test_the_example_of_a_tool_is_a_call_that_its_parameters_allow() -> None:
    tool = Tool.model_validate(
        {
            "name": "t", "description": "T", "pipeline": "search",
            "parameters": {
                "query": {"type": "string", "required": True},
                "count": {"type": "integer", "required": True, "minimum": 3},
                "mode": {"type": "string", "required": True, "enum": ["fast", "deep"]},
                "within": {
                    "type": "object", "required": True,
                    "properties": {"team": {"type": "string", "required": True}, "year": {"type": "integer"}},
                },
                "optional": {"type": "boolean"},
            },
        }
    )  # fmt: skip
    assert catalogue.example(tool) == {
        "query": "How do I ...?", "count": 3, "mode": "fast", "within": {"team": "How do I ...?"},
    }  # fmt: skip
    assert catalogue.input_schema(tool)["required"] == ["query", "count", "mode", "within"]


def test_an_unknown_tool_names_the_nearest_or_all() -> None:
    tools = {tool.name: tool for tool in TOOLS}
    assert catalogue.find_tool(tools, "mid").version == "2.0.0"
    with pytest.raises(NotFound, match=r'There is no tool "alphaa"\. Did you mean "alpha"\?'):
        catalogue.find_tool(tools, "alphaa")
    with pytest.raises(NotFound, match=r'There is no tool "q"\. Tools: alpha, mid, zeta\.'):
        catalogue.find_tool(tools, "q")


async def test_the_list_is_a_bare_array() -> None:
    async with served(scripted()) as server:
        (tool,) = (await server.api.get("/mcp/tools")).json()
    assert sorted(tool) == ["description", "metadata", "name", "parameters", "version"]
    assert tool["parameters"]["query"] == {
        "type": "string", "description": "The question, in words.", "required": True, "minLength": 1, "maxLength": 8192,
    }  # fmt: skip
    assert tool["metadata"] == {"category": None, "tags": []}


async def test_one_tool_comes_with_an_example_and_the_shape_of_its_answer() -> None:
    async with served(scripted()) as server:
        tool = (await server.api.get("/mcp/tools/search_documents")).json()
        missing = await server.api.get("/mcp/tools/serch_documents")
    assert tool["examples"] == [{"query": "How do I ...?"}]
    assert tool["response_schema"]["properties"]["output"]["required"] == ["answer", "sources"]
    assert missing.json()["error"]["message"] == (
        'There is no tool "serch_documents". Did you mean "search_documents"?'
    )


async def test_the_openapi_document_has_an_operation_for_each_tool() -> None:
    async with served(scripted()) as server:
        document = (await server.api.get("/openapi.json")).json()
    call = document["paths"]["/mcp/tools/search_documents"]["post"]
    schema = call["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["query"]
    assert schema["properties"]["top_k"] == {
        "type": "integer", "description": "How many chunks to find.", "minimum": 1, "maximum": 100,
    }  # fmt: skip


async def test_no_page_is_served_that_loads_scripts_from_elsewhere() -> None:
    async with served(scripted()) as server:
        for path in ("/docs", "/redoc"):
            assert (await server.api.get(path)).status_code == 404
