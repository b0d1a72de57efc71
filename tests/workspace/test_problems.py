"""Every word that the author of a wrong document is told: the two tables beside this file are the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sibyl_runtime.workspace import WorkspaceInvalid, load_document, parse_workspace
from tests.workspace.documents import FULL, changed, full, problem_list, problems_of

HERE = Path(__file__).parent


def table(name: str) -> list[Any]:
    """The cases of a table, each called by the first place that it complains about."""
    cases = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
    return [
        pytest.param(case["document"], case["problems"], id=case["problems"][0].partition(": ")[0]) for case in cases
    ]


@pytest.mark.parametrize(("document", "problems"), table("bad_documents.yaml"))
def test_a_bad_document_is_answered_with_exactly_this(document: dict[str, Any], problems: list[str]) -> None:
    assert problems_of(document) == problems


@pytest.mark.parametrize(("document", "problems"), table("unavailable_documents.yaml"))
def test_what_is_not_available_is_refused_by_name(document: dict[str, Any], problems: list[str]) -> None:
    assert problems_of(document) == problems
    shape = problems_of(document, check_available=False)
    assert shape == [problem for problem in problems if "not available in this version" not in problem]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"description": "literal $${top_k}"},
        {"providers": {"embedding": {"main": {"kind": "sentence_transformer"}}}},
        {"providers": {"embedding": {"main": {"backend": "torch", "device": "cuda"}}}},
        {"providers": {"vector_store": {"main": {"url": "postgresql://db/x", "index_type": "ivfflat", "lists": 50}}}},
        {"providers": {"vector_store": {"main": {"dsn": "host=db user=x", "index_type": "none"}}}},
        {"providers": {"vector_store": {"main": {"kind": "faiss"}}}},
        {"providers": {"vector_store": {"main": {"kind": "faiss", "index_type": "IVF256,Flat", "nprobe": 10}}}},
        {"providers": {"vector_store": {"main": {"kind": "faiss", "index_type": "HNSW32", "hnsw_ef_search": 90}}}},
        {"providers": {"vector_store": {"main": {"kind": "faiss", "index_type": "${INDEX}", "nprobe": 10}}}},
        {"providers": {"vector_store": {"replicas": [{"dsn": "${REPLICA}"}], "read_strategy": "random", "main": {}}}},
        {"shops": {"rag-pipeline": {"techniques": {"chunking": {"subtechnique": "fixed-size"}}}}},
        {"shops": {"rag": {"techniques": {"chunking": {"subtechnique": "sql-chunking"}}}}},
        {"shops": {"rag": {"techniques": {"chunking": {"subtechnique": "semantic", "breakpoint_percentile": 95}}}}},
        {"observability": {"logging": {"level": "INFO"}}},
        {"mcp": {"enabled": False}, "observability": {"metrics": {"enabled": False, "port": 8000}}},
        {"pipelines": {"p": {"steps": [{"use": "rag_pipeline.retrieval", "name": "again"}, {"use": "rag.retrieval"}]}}},
        FULL,
    ],
)
def test_a_good_document_has_no_problem(document: dict[str, Any]) -> None:
    assert problems_of(document) == []


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    text = """\
providers:
  vector_store:
    main:
      kind: pgvector
      hnsw_ef_serch: 3
mcp:
  port: "80"
  tls: {enabled: true}
pipelines:
  search:
    steps:
      - use: rag.retrieval
        config:
          topk: 5
      - use: rag.validation
        condition: ${retrieval.avgscore} < 0.8
"""
    document = load_document("workspace.yaml", text)
    with pytest.raises(WorkspaceInvalid) as caught:
        parse_workspace(document.raw, source=document.source, lines=document.lines)
    lines = str(caught.value).splitlines()
    assert [line.partition(";")[0].removeprefix("workspace.yaml: ") for line in lines] == [
        "providers.vector_store.main.hnsw_ef_serch: unknown key. Did you mean hnsw_ef_search?  (line 5)",
        'mcp.port: must be a whole number, found "80"',
        "pipelines.search.steps[0].config.topk: unknown key. Did you mean top_k?  (line 14)",
        'pipelines.search.steps[1].condition: "${retrieval.avgscore} < 0.8": step "retrieval" has no "avgscore"',
        "mcp.tls: `mcp.tls` is not available in this version",
        "pipelines.search.steps[1].use: `rag.validation` is not available in this version",
        "6 errors",
    ]
    assert [problem.line for problem in caught.value.problems] == [5, 7, 14, 16, 8, 15]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("providers", "llm", "primary"), "gpt", 'providers.llm.primary: must be a mapping, found "gpt"'),
        (("providers", "vector_store"), [], "providers.vector_store: must be a mapping, found a list"),
        (("pipelines", "search"), [], "pipelines.search: must be a mapping, found a list"),
        (("mcp", "tools"), {}, "mcp.tools: must be a list, found a mapping"),
        (("pipelines", "search", "parameters"), [], "pipelines.search.parameters: must be a mapping, found a list"),
    ],
)
def test_what_only_follows_from_a_problem_is_not_told(path: tuple[str, ...], value: Any, problem: str) -> None:
    assert problems_of(changed(full(), path, value)) == [problem]


def test_a_problem_in_what_is_not_written_has_the_line_around_it() -> None:
    document = load_document("w.yaml", "name: x\nmcp:\n  tools:\n    - name: a\n      pipeline: search\n")
    problems = problem_list(document.raw, lines=document.lines)
    assert [(problem.path, problem.line) for problem in problems] == [("mcp.tools[0].description", 4)]


def test_one_problem_is_one_error() -> None:
    with pytest.raises(WorkspaceInvalid) as caught:
        parse_workspace({"nam": "x"}, source="w.yaml")
    assert str(caught.value) == "w.yaml: nam: unknown key. Did you mean name?\n1 error"


def test_redis_needs_an_address_where_it_is_to_be_used() -> None:
    raw = {"shops": {"infrastructure": {"config": {"caching": {"enabled": True, "backend": "redis"}}}}}
    assert problems_of(raw) == []
    assert problems_of(raw, environ={}) == [
        "shops.infrastructure.config.caching.redis.url: is required, as Redis is to be used: redis://host:6379/0"
    ]


def test_what_is_not_available_is_not_suggested() -> None:
    with pytest.raises(WorkspaceInvalid) as caught:
        parse_workspace({"name": "w", "mcp": {"authentication": {"type": "oauth"}}})
    assert [str(problem) for problem in caught.value.problems] == [
        'mcp.authentication.type: found "oauth"; allowed: api_key, jwt'
    ]


def test_no_message_shows_a_secret() -> None:
    for path, value in (
        (("providers", "llm", "primary", "api_key"), 4711),
        (("providers", "vector_store", "main", "dsn"), "mysql://root:4711@db/x"),
        (("providers", "vector_store", "main", "dsn"), ["4711"]),
        (("mcp", "authentication", "keys", 0), 4711),
        (("mcp", "authentication", "header"), "postgresql://root:4711@db/x"),
        (("shops", "infrastructure", "config", "caching", "redis", "url"), 4711),
    ):
        problems = problems_of(changed(full(), path, value))
        assert len(problems) == 1, path
        assert "4711" not in problems[0]


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://rag:99999?x@db/rag",
        "postgresql://rag:70000#secret@db:5432/rag",
        "postgresql://rag:99999@db/rag",
        "postgresql://a:1,b:2/rag",
        "postgresql:///rag?host=/run/pg",
        "host=db port=5432 dbname=rag",
    ],
)
def test_what_looks_like_a_port_in_a_password_is_none(dsn: str) -> None:
    parse_workspace({"providers": {"vector_store": {"default": {"kind": "pgvector", "dsn": dsn}}}})


@pytest.mark.parametrize("order", [1, -1])
def test_a_parameter_of_two_types_is_not_judged_by_the_first_tool(order: int) -> None:
    def tool(name: str, kind: str) -> dict[str, Any]:
        given = {"query": {"type": "string", "required": True}, "floor": {"type": kind, "required": True}}
        return {"name": name, "description": "d", "pipeline": "p", "parameters": given}

    steps = [
        {"use": "rag.retrieval"},
        {"use": "ai_generation.generation", "condition": "${retrieval.count} > ${floor}"},
    ]
    tools = [tool("a", "string"), tool("b", "integer")][::order]
    parse_workspace({"pipelines": {"p": {"steps": steps}}, "mcp": {"tools": tools}})
