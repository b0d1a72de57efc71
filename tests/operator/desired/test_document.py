"""The effective document: what the user wrote, and the database and cache of the spec by reference."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired import config_hash, effective_document
from sibyl_operator.desired.document import document_text
from sibyl_runtime.workspace import effective_hash, parse_workspace
from tests.operator.api.facts import body, full_body, resource, valid

CACHE = {"provider": "External", "external": {"secretRef": {"name": "redis"}}}
DSN = "${DATABASE_URL}"
URL = "${REDIS_URL}"
LAPTOP_URL = "${REDIS_URL:-redis://localhost}"


def stores(**named: Any) -> dict[str, Any]:
    return {"providers": {"vector_store": named}}


def caching(written: dict[str, Any], shop: str = "infrastructure") -> dict[str, Any]:
    return {"shops": {shop: {"config": {"caching": written}}}}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, stores(default={"dsn": DSN})),
        ({"providers": {}}, stores(default={"dsn": DSN})),
        (stores(main={"kind": "pgvector"}), stores(main={"kind": "pgvector", "dsn": DSN})),
        (stores(main={}), stores(main={"dsn": DSN})),
        (stores(main={"dsn": DSN}), stores(main={"dsn": DSN})),
        (stores(main={"url": DSN}), stores(main={"url": DSN})),
        (
            stores(main={"dsn": "${DATABASE_URL:-postgresql://localhost/db}"}),
            stores(main={"dsn": "${DATABASE_URL:-postgresql://localhost/db}"}),
        ),
    ],
    ids=str,
)
def test_the_database_of_the_spec_is_that_of_the_document(written: dict[str, Any], expected: dict[str, Any]) -> None:
    assert effective_document(resource(workspace=written)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, caching({"redis": {"url": URL}})),
        (caching({"redis": {"url": URL, "ttl": 5}}), caching({"redis": {"url": URL, "ttl": 5}})),
        (caching({"redis": {"ttl": 5}}), caching({"redis": {"ttl": 5, "url": URL}})),
        (caching({"memory": {"ttl": 5}}), caching({"memory": {"ttl": 5}, "redis": {"url": URL}})),
        (caching({"enabled": True}), caching({"enabled": True, "memory": {}, "redis": {"url": URL}})),
        (
            caching({"backend": "redis", "enabled": True}),
            caching({"backend": "redis", "enabled": True, "redis": {"url": URL}}),
        ),
        (caching({"redis": {"url": LAPTOP_URL}}), caching({"redis": {"url": LAPTOP_URL}})),
    ],
    ids=str,
)
def test_the_cache_of_the_spec_is_a_level_of_the_documents(written: dict[str, Any], expected: dict[str, Any]) -> None:
    effective = effective_document(resource(workspace=written, cache=CACHE))
    effective.pop("providers")
    assert effective == expected


@pytest.mark.parametrize(
    "written",
    [{}, caching({"memory": {}}), caching({"enabled": True}), caching({"enabled": True, "backend": "memory"})],
    ids=str,
)
def test_redis_is_in_effect_whenever_the_spec_has_a_cache(written: dict[str, Any]) -> None:
    before = resource(workspace=written, cache=CACHE)
    after = parse_workspace(effective_document(before)).caching
    assert after.redis_level is not None
    assert after.redis_level.url == URL
    assert (after.memory_level is None) == (before.document.caching.memory_level is None)


def test_without_a_cache_in_the_spec_the_documents_caching_is_left_alone() -> None:
    written = caching({"memory": {"ttl": 5}})
    assert effective_document(resource(workspace=written))["shops"] == written["shops"]


def test_the_full_document_says_it_all_itself() -> None:
    found = valid(full_body())
    assert effective_document(found) == found.raw_document


@pytest.mark.parametrize("manifest", [body(), body(cache=CACHE), full_body()])
def test_the_effective_document_is_itself_valid(manifest: dict[str, Any]) -> None:
    parse_workspace(effective_document(valid(manifest)))


def test_the_users_document_is_never_changed() -> None:
    found = resource(workspace=stores(main={}), cache=CACHE)
    effective_document(found)
    assert found.raw_document == stores(main={})


@pytest.mark.parametrize("found", [resource(), resource(cache=CACHE), valid(full_body())])
def test_the_text_holds_exactly_the_effective_document(found: WorkspaceResource) -> None:
    assert yaml.safe_load(document_text(found)) == effective_document(found)
    assert config_hash(found) == effective_hash(yaml.safe_load(document_text(found)))


def test_the_order_of_keys_changes_neither_text_nor_hash() -> None:
    one = resource(workspace={"name": "a", "mcp": {"port": 8000, "host": "0.0.0.0"}})
    other = resource(workspace={"mcp": {"host": "0.0.0.0", "port": 8000}, "name": "a"})
    assert document_text(one) == document_text(other)
    assert config_hash(one) == config_hash(other)


def test_the_text_says_where_to_change_it() -> None:
    assert document_text(resource()).startswith(
        "# The effective document of SibylWorkspace team/docs.\n"
        "# Written by sibyl-operator; change spec.workspace of the resource instead.\n"
    )


def test_a_prompt_of_several_lines_stays_readable() -> None:
    steps = [
        {"use": "rag.retrieval"},
        {"use": "ai_generation.generation", "config": {"prompt": "From:\n{context}\n\nAnswer: {query}\n"}},
    ]
    found = resource(workspace={"pipelines": {"search": {"steps": steps}}})
    assert "prompt: |\n" in document_text(found)
