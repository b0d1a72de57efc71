"""What a document means where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from sibyl_runtime.workspace import (
    Caching,
    EmbeddingProvider,
    LlmProvider,
    RetrievalConfig,
    VectorStoreProvider,
    Workspace,
    latency_buckets,
    parse_workspace,
    step_config,
    validate_arguments,
)
from sibyl_runtime.workspace.base import is_planned
from tests.workspace.documents import FULL


def workspace(**raw: Any) -> Workspace:
    return parse_workspace(raw)


def test_an_empty_document_searches_and_ingests() -> None:
    pipelines = workspace().effective_pipelines
    assert {name: [step.use for step in pipeline.steps] for name, pipeline in pipelines.items()} == {
        "search": ["rag.retrieval", "ai_generation.generation"],
        "ingest": ["data.load_documents", "rag.chunking", "rag.embedding", "data.store_vectors"],
    }


def test_a_pipeline_of_the_document_stands_in_for_the_built_in_one() -> None:
    pipelines = workspace(pipelines={"search": {"steps": [{"use": "rag.retrieval"}]}}).effective_pipelines
    assert [step.use for step in pipelines["search"].steps] == ["rag.retrieval"]
    assert len(pipelines["ingest"].steps) == 4


def test_an_empty_document_offers_search_documents() -> None:
    tools = workspace().effective_tools
    tool = tools["search_documents"]
    assert list(tools) == ["search_documents"]
    assert tool.pipeline == "search"
    assert validate_arguments(tool, {"query": "x", "top_k": 100, "filters": {"a": 1}}).keys() == {
        "query", "top_k", "filters"}  # fmt: skip
    query = tool.parameters["query"]
    assert (query.type, query.required, query.minLength, query.maxLength) == ("string", True, 1, 8192)
    top_k = tool.parameters["top_k"]
    assert (top_k.type, top_k.required, top_k.minimum, top_k.maximum) == ("integer", False, 1, 100)


def test_the_argument_top_k_wins_over_the_shop_and_that_over_the_default() -> None:
    for shop, arguments, expected in (({}, {}, 5), ({"top_k": 9}, {}, 9), ({"top_k": 9}, {"top_k": 3}, 3)):
        made = workspace(shops={"rag": {"config": shop}})
        config = step_config(made, "search", made.effective_pipelines["search"].steps[0], {"query": "x", **arguments})
        assert isinstance(config, RetrievalConfig)
        assert config.top_k == expected


def test_the_built_in_tool_offers_only_what_the_pipeline_of_the_document_uses() -> None:
    steps = [{"use": "rag.retrieval", "config": {"top_k": 20}}]
    assert workspace(pipelines={"search": {"steps": steps}}).effective_tools["search_documents"].parameters.keys() == {
        "query"}  # fmt: skip
    steps = [{"use": "rag.retrieval", "config": {"top_k": "${top_k:-20}"}}]
    assert workspace(pipelines={"search": {"steps": steps}}).effective_tools["search_documents"].parameters.keys() == {
        "query", "top_k"}  # fmt: skip


def test_tools_of_the_document_stand_in_for_the_built_in_one() -> None:
    tool = {"name": "ask", "description": "d", "pipeline": "search", "parameters": {"query": {"type": "string"}}}
    assert list(workspace(mcp={"tools": [tool]}).effective_tools) == ["ask"]


def test_without_providers_there_is_one_of_each_that_needs_no_key() -> None:
    made = workspace()
    assert made.default_llm == ("default", LlmProvider(kind="extractive"))
    assert made.default_embedding == ("default", EmbeddingProvider())
    assert made.default_vector_store == ("default", VectorStoreProvider())
    assert made.default_embedding[1].model == "all-MiniLM-L6-v2"
    assert made.default_vector_store[1].dsn is None


@pytest.mark.parametrize(
    ("names", "default"),
    [
        (["only"], "only"),
        (["main", "other"], "main"),
        (["other", "main", "primary"], "primary"),
        (["main", "primary", "default"], "default"),
    ],
)
def test_the_default_provider_goes_by_its_name(names: list[str], default: str) -> None:
    made = workspace(providers={"llm": {name: {"kind": "extractive"} for name in names}})
    assert made.default_llm[0] == default


def test_the_kpis_of_the_guide_hold_until_the_document_names_its_own() -> None:
    assert [(kpi.name, kpi.value, kpi.percentile) for kpi in workspace().kpis] == [
        ("p50_latency", 1.0, 0.5),
        ("p95_latency", 3.0, 0.95),
        ("p99_latency", 5.0, 0.99),
    ]
    own = workspace(observability={"kpis": [{"name": "availability", "threshold": 0.999, "window": "30d"}]}).kpis
    assert [(kpi.name, kpi.value, kpi.window) for kpi in own] == [("availability", 0.999, "30d")]


def test_each_latency_target_is_an_edge_of_the_histograms() -> None:
    edges = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 3.0, 5.0, 10.0, 30.0)
    assert latency_buckets(workspace()) == edges
    kpis = [
        {"name": "p95", "target": 0.7, "percentile": 0.95},
        {"name": "p99", "metric": "sibyl_pipeline_duration_seconds", "threshold": 45, "percentile": 0.99},
        {"name": "tokens", "metric": "sibyl_tokens_used_total", "target": 7},
        {"name": "requests_per_second", "target": 100},
    ]
    made = latency_buckets(workspace(observability={"kpis": kpis}))
    assert set(made) - set(edges) == {0.7, 45.0}
    assert list(made) == sorted(made)


@pytest.mark.parametrize(
    ("written", "memory_ttl", "redis_ttl"),
    [
        ({}, None, None),
        ({"ttl": 60}, None, None),
        ({"enabled": True}, 3600, None),
        ({"enabled": True, "ttl": 60}, 60, None),
        ({"enabled": True, "backend": "redis"}, None, 3600),
        ({"enabled": True, "backend": "redis", "ttl": 60}, None, 60),
        ({"memory": {}}, 300, None),
        ({"redis": {"url": "redis://h"}}, None, 3600),
        ({"memory": {}, "redis": {"url": "redis://h"}}, 300, 3600),
        ({"memory": {"ttl": 5}, "redis": {"url": "redis://h"}, "ttl": 60}, 5, 60),
        ({"backend": "redis", "memory": {"enabled": True}}, 300, 3600),
        ({"backend": "memory", "redis": {"url": "redis://h"}, "enabled": True}, 3600, 3600),
        ({"memory": {"enabled": False}, "redis": {"url": "redis://h"}}, None, 3600),
        ({"enabled": False, "memory": {"enabled": True}}, None, None),
    ],
)
def test_the_levels_of_the_cache_follow_from_what_is_written(
    written: dict[str, Any], memory_ttl: float | None, redis_ttl: float | None
) -> None:
    caching = workspace(shops={"infrastructure": {"config": {"caching": written}}}).caching
    assert (caching.memory_level.ttl if caching.memory_level else None) == memory_ttl
    assert (caching.redis_level.ttl if caching.redis_level else None) == redis_ttl
    assert caching.enabled is bool(caching.memory_level or caching.redis_level)


def test_a_disabled_shop_caches_nothing() -> None:
    shop = {"enabled": False, "config": {"caching": {"enabled": True}}}
    assert workspace(shops={"infrastructure": shop}).caching == Caching()


def test_shops_have_their_canonical_names() -> None:
    made = workspace(shops={"rag-pipeline": {}, "data_integration": {}})
    assert list(made.shops) == ["rag", "data"]


def test_a_step_has_its_canonical_id_and_a_name() -> None:
    steps = [{"use": "rag-pipeline.retrieval"}, {"use": "generation", "name": "answer"}]
    made = workspace(pipelines={"p": {"shop": "ai-generation", "steps": steps}})
    assert [(step.use, step.name) for step in made.pipelines["p"].steps] == [
        ("rag.retrieval", "retrieval"),
        ("ai_generation.generation", "answer"),
    ]


def test_a_workspace_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(workspace(), "name", "other")  # noqa: B010  (mypy knows that it is frozen; this is about the runtime)


def models_in(value: Any) -> list[BaseModel]:
    """Every model within `value`, itself included."""
    if isinstance(value, BaseModel):
        inner = [getattr(value, name) for name in type(value).model_fields]
        return [value, *(model for one in inner for model in models_in(one))]
    if isinstance(value, dict | list):
        inner = list(value.values()) if isinstance(value, dict) else value
        return [model for one in inner for model in models_in(one)]
    return []


# Fields that the full document cannot set beside the others: the other word for a field, or another kind of index.
ELSEWHERE = {
    ("VectorStoreProvider", "lists"),
    ("VectorStoreProvider", "probes"),
    ("ToolParameter", "items"),
    ("ToolParameter", "minItems"),
    ("ToolParameter", "maxItems"),
    ("ToolParameter", "properties"),
    ("VectorStores", "read_strategy"),
    ("VectorStores", "replicas"),
    # What belongs to tokens, and to a Redis of the limits.
    ("Authentication", "secret"),
    ("Authentication", "algorithm"),
    ("Authentication", "jwks_url"),
    ("Authentication", "audience"),
    ("Authentication", "issuer"),
    ("Authentication", "required_claims"),
    ("Authentication", "leeway"),
    ("VectorStoreProvider", "nprobe"),
    *(("EmbeddingProvider", name) for name in ("api_key", "base_url", "dimensions", "max_retries", "timeout")),
}


def test_the_full_document_uses_every_available_field() -> None:
    made = parse_workspace(FULL)
    steps = [(name, step) for name, pipeline in made.pipelines.items() for step in pipeline.all_steps]
    configs = [step_config(made, name, step, {"top_k": 3}) for name, step in steps]
    held = [*models_in(made), *models_in(made.caching), *configs]
    used = {(type(model).__name__, name) for model in held for name in model.model_fields_set}
    available = {
        (type(model).__name__, name)
        for model in held
        for name, field in type(model).model_fields.items()
        if not is_planned(field)
    }
    assert available - used - ELSEWHERE == set()
    assert available & ELSEWHERE == ELSEWHERE
