"""Variables of the environment in a document: found, put in, and judged where they are not known."""

from __future__ import annotations

import pytest

from sibyl_runtime.workspace import EnvironmentReference, WorkspaceInvalid, environment_references, expand_environment
from tests.workspace.documents import changed, full, problems_of, valid


def test_every_use_of_a_variable_is_found_with_its_place() -> None:
    raw = {
        "providers": {"vector_store": {"main": {"dsn": "${DATABASE_URL}"}}},
        "mcp": {"authentication": {"keys": ["${KEY}", "${KEY:-x}"]}},
        "pipelines": {
            "p": {"steps": [{"use": "rag.retrieval", "config": {"top_k": "${top_k}"}, "condition": "${a.b}"}]}
        },
        "description": "$${NOT} a reference, nor ${Mixed",
    }
    assert environment_references(raw) == {
        "DATABASE_URL": [EnvironmentReference("providers.vector_store.main.dsn", "DATABASE_URL", None)],
        "KEY": [
            EnvironmentReference("mcp.authentication.keys[0]", "KEY", None),
            EnvironmentReference("mcp.authentication.keys[1]", "KEY", "x"),
        ],
    }


@pytest.mark.parametrize(
    ("text", "environ", "expanded"),
    [
        ("${URL}", {"URL": "postgresql://db"}, "postgresql://db"),
        ("${URL:-other}", {"URL": "postgresql://db"}, "postgresql://db"),
        ("${URL:-other}", {}, "other"),
        ("${URL:-other}", {"URL": ""}, "other"),
        ("${URL:-}", {}, ""),
        ("${URL}", {"URL": ""}, ""),
        ("http://${HOST}:${PORT:-80}/", {"HOST": "h"}, "http://h:80/"),
        ("${A}${B}", {"A": "${B}", "B": "2"}, "${B}2"),
        ("$${URL}", {}, "${URL}"),
        ("$${URL}=${URL}", {"URL": "x"}, "${URL}=x"),
        ("$${param}", {}, "${param}"),
        ("plain", {}, "plain"),
    ],
)
def test_references_are_replaced_once(text: str, environ: dict[str, str], expanded: str) -> None:
    result = expand_environment({"a": [{"b": text, "n": 1}]}, environ)
    assert result == {"a": [{"b": expanded, "n": 1}]}
    assert type(result["a"][0]["b"]) is str


def test_a_step_keeps_what_it_fills_in_itself() -> None:
    raw = {"pipelines": {"p": {"steps": [{"use": "x.y", "config": {"a": "${top_k} $${top_k} $${HOME}"}}]}}}
    step = expand_environment(raw, {})["pipelines"]["p"]["steps"][0]
    assert step["config"]["a"] == "${top_k} $${top_k} ${HOME}"


def test_all_missing_variables_are_named_at_once() -> None:
    raw = {"providers": {"vector_store": {"main": {"dsn": "${DATABASE_URL}"}}}, "name": "${A}-${B}"}
    with pytest.raises(WorkspaceInvalid) as caught:
        expand_environment(raw, {})
    assert str(caught.value).splitlines() == [
        "workspace: providers.vector_store.main.dsn: ${DATABASE_URL} is not set in the environment; set it",
        "workspace: name: ${A} is not set in the environment; set it, or give a default: ${A:-value}",
        "workspace: name: ${B} is not set in the environment; set it, or give a default: ${B:-value}",
        "3 errors",
    ]


def test_a_missing_variable_is_one_problem_and_not_two() -> None:
    raw = {"mcp": {"port": "${PORT}"}}
    assert problems_of(raw, environ={}) == [
        "mcp.port: ${PORT} is not set in the environment; set it, or give a default: ${PORT:-value}"
    ]


def test_a_number_from_the_environment_is_a_number() -> None:
    raw = {
        "mcp": {"port": "${PORT:-9000}", "timeout": "${T:-2.5}", "enabled": "${ON:-true}", "transport": "${TR:-http}"}
    }
    unresolved = valid(raw).mcp
    assert (unresolved.port, unresolved.timeout, unresolved.enabled, unresolved.transport) == (9000, 2.5, True, "http")
    resolved = valid(raw, environ={"PORT": "9100", "ON": "false"}).mcp
    assert (resolved.port, resolved.timeout, resolved.enabled, resolved.transport) == (9100, 2.5, False, "http")


def test_text_from_the_environment_stays_text() -> None:
    raw = {"mcp": {"authentication": {"keys": ["${KEY}"]}}, "version": "${VERSION}"}
    workspace = valid(raw, environ={"KEY": "12345", "VERSION": "1.0"})
    assert workspace.mcp.authentication is not None
    assert workspace.mcp.authentication.keys == ["12345"]
    assert workspace.version == "1.0"


def test_settings_of_a_step_may_come_from_the_environment() -> None:
    raw = {"pipelines": {"search": {"steps": [{"use": "rag.retrieval", "config": {"top_k": "${TOP_K:-7}"}}]}}}
    assert problems_of(raw) == []
    assert problems_of(raw, environ={"TOP_K": "9"}) == []
    at = "pipelines.search.steps[0].config.top_k"
    assert problems_of(raw, environ={"TOP_K": "many"}) == [
        f"{at}: must be a whole number, found the value of ${{TOP_K:-7}}"
    ]
    assert problems_of(raw, environ={"TOP_K": "0"}) == [f"{at}: must be at least 1, found 0"]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (
            ("mcp", "port"),
            "${PORT}",
            "mcp.port: must be a whole number, and ${PORT} is not known here; write a default: ${VARIABLE:-value}",
        ),
        (
            ("mcp", "transport"),
            "${TRANSPORT}",
            "mcp.transport: must be one of the allowed values, and ${TRANSPORT} is not known here; write a default: "
            "${VARIABLE:-value}",
        ),
        (("mcp", "port"), "${PORT:-abc}", 'mcp.port: must be a whole number, found "abc"'),
        (("mcp", "port"), "${PORT:-0}", "mcp.port: must be at least 1, found 0"),
        (
            ("mcp", "port"),
            "1${PORT:-2}",
            "mcp.port: must be a whole number, and 1${PORT:-2} is not known here; write a default: ${VARIABLE:-value}",
        ),
        (
            ("observability", "metrics", "enabled"),
            "${ON}",
            "observability.metrics.enabled: must be true or false, and ${ON} is not known here; write a default: "
            "${VARIABLE:-value}",
        ),
    ],
)
def test_without_the_environment_a_default_is_judged(path: tuple[str, ...], text: str, message: str) -> None:
    assert problems_of(changed({}, path, text)) == [message]


def test_without_the_environment_references_in_text_pass_every_rule() -> None:
    raw = {
        "name": "${NAME}",
        "providers": {
            "vector_store": {"main": {"dsn": "${DSN}", "collection_name": "${COLLECTION}", "index_type": "${INDEX}"}}
        },
    }
    store = valid(raw).default_vector_store[1]
    assert (store.dsn, store.collection_name) == ("${DSN}", "${COLLECTION}")


def test_a_value_from_the_environment_never_shows_in_a_message() -> None:
    secret = "postgresql://u:hunter2@db/x"
    for path in (("mcp", "port"), ("mcp", "transport"), ("providers", "vector_store", "main", "collection_name")):
        raw = changed(full(), path, "${DATABASE_URL}")
        shown = problems_of(raw, environ={"DATABASE_URL": secret, "OPENAI_API_KEY": "sk-1", "API_KEY": "k"})
        assert len(shown) == 1
        assert "hunter2" not in shown[0]
        assert "the value of ${DATABASE_URL}" in shown[0]
