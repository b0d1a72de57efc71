"""The CRD types the document where the dialect is fixed, and takes every spelling that its reader takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator

from sibyl_operator.api.document_schema import document_schema
from sibyl_operator.api.structure import prune
from sibyl_runtime.workspace import WorkspaceInvalid, parse_workspace
from tests.operator.api.facts import CORPUS, ROOT

SCHEMA = document_schema()


def refusals(document: dict[str, Any]) -> list[str]:
    """What an API server with this schema has against the document. Draft 4 has OpenAPI's boolean exclusive bounds."""
    pruned, unknown = prune(SCHEMA, document)
    errors = Draft4Validator(SCHEMA).iter_errors(pruned)
    return [f"unknown {field.location}" for field in unknown] + [error.message for error in errors]


def written() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in [*sorted((CORPUS / "valid").glob("*.yaml")), *sorted((ROOT / "manifests" / "samples").glob("*.yaml"))]:
        yield path.stem, yaml.safe_load(path.read_text())["spec"]["workspace"]


@pytest.mark.parametrize(("name", "document"), list(written()))
def test_every_document_that_we_show_is_within_the_schema(name: str, document: dict[str, Any]) -> None:
    parse_workspace(document, source=name)
    assert refusals(document) == []


SPELLINGS: list[dict[str, Any]] = [
    {"providers": {"embedding": {"default": {"kind": kind}}}}
    for kind in ("sentence-transformer", "sentence_transformer", "sentence-transformers")
]
SPELLINGS += [
    {"providers": {"vector_store": {"main": {"url": "${DATABASE_URL}"}}}},
    {"providers": {"vector_store": {"main": {"dsn": "${DATABASE_URL}"}}}},
    {"observability": {"logging": {"level": "WARNING"}}},
    {"observability": {"kpis": [{"name": "p95_latency", "threshold": 2, "percentile": 0.95}]}},
    {"shops": {"rag-pipeline": {"techniques": {"retrieval": {"top_k": 3}}}}},
    {"pipelines": {"ask": {"shop": "rag", "parameters": {"query": "string"}, "steps": [{"use": "retrieval"}]}}},
    {"mcp": {"timeout": 30}},
    {"mcp": {"timeout": 2.5}},
]


@pytest.mark.parametrize("document", SPELLINGS, ids=str)
def test_every_spelling_of_the_dialect_is_within_the_schema(document: dict[str, Any]) -> None:
    parse_workspace(document)
    assert refusals(document) == []


@pytest.mark.parametrize(
    "document",
    [
        {"mcp": {"prot": 8000}},
        {"mcp": {"port": "8000"}},
        {"mcp": {"tls": {"enabled": True}}},
        {"mcp": {"compression": {"algorithm": "br"}}},
        {"mcp": {"cors": {}}},
        {"mcp": {"transport": "sse"}},
        {"providers": {"vector_store": {"main": {"kind": "qdrant"}}}},
        {"providers": {"llm": {"primary": {"kind": "openai", "model": "m", "temperature": 3}}}},
        {"pipelines": {"search": {"steps": []}}},
    ],
    ids=str,
)
def test_what_the_documents_reader_refuses_by_shape_the_schema_refuses_too(document: dict[str, Any]) -> None:
    with pytest.raises(WorkspaceInvalid):
        parse_workspace(document)
    assert refusals(document)


@pytest.mark.parametrize(
    "path",
    [
        ("shops", "*", "config"),
        ("shops", "*", "techniques", "*"),
        ("pipelines", "*", "parameters"),
        ("pipelines", "*", "steps", "[]", "config"),
        ("pipelines", "*", "steps", "[]", "on_error"),
        ("mcp", "tools", "[]", "parameters"),
        ("mcp", "tools", "[]", "defaults"),
    ],
    ids=".".join,
)
def test_the_document_is_free_only_where_the_dialect_is(path: tuple[str, ...]) -> None:
    assert at(path)["x-kubernetes-preserve-unknown-fields"] is True


def test_nothing_else_of_the_document_is_free() -> None:
    assert sorted(free_places(SCHEMA, "")) == [
        ".mcp.tools[].defaults",
        ".mcp.tools[].parameters",
        ".pipelines.*.parameters",
        ".pipelines.*.steps[].config",
        ".pipelines.*.steps[].on_error",
        ".pipelines.*.steps[].parallel.steps[].config",
        ".pipelines.*.steps[].parallel.steps[].on_error",
        ".shops.*.config",
        ".shops.*.techniques.*",
    ]


def test_the_document_gets_no_defaults_so_that_it_is_stored_word_for_word() -> None:
    assert list(defaults(SCHEMA)) == []


def at(path: tuple[str, ...]) -> dict[str, Any]:
    schema = SCHEMA
    for part in path:
        below = {"*": schema.get("additionalProperties"), "[]": schema.get("items")}.get(part)
        schema = below or schema["properties"][part]
    return schema


def free_places(schema: dict[str, Any], place: str) -> Iterator[str]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        yield place
    for name, below in schema.get("properties", {}).items():
        yield from free_places(below, f"{place}.{name}")
    if "items" in schema:
        yield from free_places(schema["items"], f"{place}[]")
    if "additionalProperties" in schema:
        yield from free_places(schema["additionalProperties"], f"{place}.*")


def defaults(schema: dict[str, Any]) -> Iterator[Any]:
    if "default" in schema:
        yield schema["default"]
    parts = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for below in parts:
        if below is not None:
            yield from defaults(below)
