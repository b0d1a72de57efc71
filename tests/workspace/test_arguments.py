"""Arguments of a call: all that is wrong is told, and nothing is bent to fit."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.workspace import (
    ArgumentsInvalid,
    Tool,
    ToolParameter,
    parse_workspace,
    pipeline_parameters,
    validate_arguments,
    validate_parameters,
)


def tool_with(parameters: dict[str, Any], **fields: Any) -> Tool:
    raw = {"name": "t", "description": "d", "pipeline": "p", "parameters": parameters, **fields}
    return Tool.model_validate(raw)


TOOL = tool_with(
    {
        "query": {"type": "string", "required": True, "minLength": 2, "maxLength": 10, "pattern": r"^\w"},
        "top_k": {"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "rerank": {"type": "boolean", "default": False},
        "mode": {"type": "string", "enum": ["fast", "deep"]},
        "level": {"type": "integer", "enum": [1, 2]},
        "tags": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 2},
        "filters": {"type": "object"},
        "range": {
            "type": "object",
            "properties": {"from": {"type": "integer", "required": True}, "to": {"type": "integer"}},
        },
    },
    defaults={"mode": "fast"},
)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"top_k": 1},
        {"top_k": 100, "share": 0, "rerank": True},
        {"share": 0.5, "mode": "deep", "level": 2},
        {"tags": ["a", "b"], "filters": {"any": [1, {"x": None}]}},
        {"range": {"from": 1}},
        {"range": {"from": 1, "to": 2}},
    ],
)
def test_fitting_arguments_come_back_with_the_defaults(arguments: dict[str, Any]) -> None:
    complete = validate_arguments(TOOL, {"query": "what", **arguments})
    assert complete == {"query": "what", "top_k": 5, "rerank": False, "mode": "fast", **arguments}


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({}, ["query: is required; give text"]),
        ({"query": None}, ["query: must be text, found nothing (null)"]),
        ({"query": 5}, ["query: must be text, found 5"]),
        ({"query": "a"}, ["query: must be at least 2 characters, found 1 characters"]),
        ({"query": "abcdefghijk"}, ["query: must be at most 10 characters, found 11 characters"]),
        ({"query": "!!"}, [r'query: must match ^\w, found "!!"']),
        ({"query": "what", "topk": 3}, ["topk: unknown parameter. Did you mean top_k?"]),
        (
            {"query": "what", "zzz": 3},
            ["zzz: unknown parameter. Allowed: filters, level, mode, query, range, rerank, share, tags, top_k."],
        ),
        ({"query": "what", "top_k": "3"}, ['top_k: must be a whole number, found "3"; send it without quotes']),
        ({"query": "what", "top_k": 3.0}, ["top_k: must be a whole number, found 3.0"]),
        ({"query": "what", "top_k": True}, ["top_k: must be a whole number, found true"]),
        ({"query": "what", "top_k": 0}, ["top_k: must be at least 1, found 0"]),
        ({"query": "what", "top_k": 101}, ["top_k: must be at most 100, found 101"]),
        ({"query": "what", "share": 1.5}, ["share: must be at most 1, found 1.5"]),
        ({"query": "what", "share": float("nan")}, ["share: must be a number, found NaN"]),
        ({"query": "what", "rerank": 1}, ["rerank: must be true or false, found 1"]),
        ({"query": "what", "mode": "slow"}, ['mode: found "slow"; allowed: "fast", "deep"']),
        ({"query": "what", "level": True}, ["level: must be a whole number, found true"]),
        ({"query": "what", "tags": "a"}, ['tags: must be a list, found "a"']),
        ({"query": "what", "tags": []}, ["tags: must be at least 1 elements, found 0 elements"]),
        ({"query": "what", "tags": ["", 2]}, [
            "tags[0]: must be at least 1 characters, found 0 characters", "tags[1]: must be text, found 2"]),
        ({"query": "what", "filters": []}, ["filters: must be a mapping, found a list"]),
        ({"query": "what", "range": {}}, ["range.from: is required; give a whole number"]),
        ({"query": "what", "range": {"from": 1, "too": 2}}, ["range.too: unknown key. Did you mean to?"]),
        ({"topk": 1, "share": 2}, [
            "topk: unknown parameter. Did you mean top_k?", "query: is required; give text",
            "share: must be at most 1, found 2"]),
        ({"query": "x" * 500}, ["query: must be at most 10 characters, found 500 characters"]),
        ({"query": "what", "mode": "y" * 500}, [f'mode: found "{"y" * 78}…; allowed: "fast", "deep"']),
    ],
)  # fmt: skip
def test_every_problem_is_told(arguments: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        validate_arguments(TOOL, arguments)
    assert [str(problem) for problem in caught.value.problems] == problems
    assert str(caught.value) == "; ".join(problems)


def test_a_default_of_null_is_a_default() -> None:
    tool = tool_with({"x": {"type": "string", "default": None}, "y": {"type": "string"}})
    assert validate_arguments(tool, {}) == {"x": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*TOOL.parameters, "other"]), JSON, max_size=5))
def test_arguments_pass_unchanged_or_are_refused(arguments: dict[str, Any]) -> None:
    try:
        complete = validate_arguments(TOOL, arguments)
    except ArgumentsInvalid:
        return
    assert all(complete[name] is value for name, value in arguments.items())
    assert set(arguments) <= set(TOOL.parameters)


SEARCH: dict[str, Any] = {
    "pipelines": {
        "p": {
            "parameters": {"k": {"type": "integer", "minimum": 1, "default": 4}},
            "steps": [{"use": "rag.retrieval", "config": {"top_k": "${k}", "filters": {"lang": "${lang}"}}}],
        }
    },
    "mcp": {
        "tools": [
            {
                "name": "t",
                "description": "d",
                "pipeline": "p",
                "parameters": {"query": {"required": True}, "lang": {"enum": ["en", "de"]}, "k": {"type": "integer"}},
            }
        ]
    },
}


def test_a_run_takes_the_parameters_of_its_pipeline_and_of_the_tools_that_use_it() -> None:
    workspace = parse_workspace(SEARCH)
    parameters = pipeline_parameters(workspace, "p")
    assert sorted(parameters) == ["k", "lang", "query"]
    assert parameters["k"].minimum == 1
    assert validate_parameters(workspace, "p", {"query": "x", "lang": "en"}) == {"query": "x", "lang": "en", "k": 4}
    with pytest.raises(ArgumentsInvalid, match=r"^query: is required; give text; lang: found \"fr\"; allowed: \"en\""):
        validate_parameters(workspace, "p", {"lang": "fr"})


def test_every_pipeline_knows_the_query() -> None:
    assert pipeline_parameters(parse_workspace({}), "ingest").keys() == {"path", "query"}


def test_a_pipeline_that_loads_documents_takes_their_path_without_declaring_it() -> None:
    steps = [{"use": "data.load_documents", "config": {"path": "docs"}}]
    workspace = parse_workspace({"name": "w", "pipelines": {"load": {"steps": steps}}})
    assert validate_parameters(workspace, "load", {"path": "other"}) == {"path": "other"}
    with pytest.raises(ArgumentsInvalid, match=r"^path: unknown parameter"):
        validate_parameters(workspace, "search", {"path": "other"})


def test_a_parameter_reads_like_json_schema() -> None:
    written = {"type": "string", "minLength": 1, "maxLength": 5, "enum": ["a"]}
    assert ToolParameter.model_validate(written).model_dump(exclude_unset=True) == written


def test_a_call_that_is_all_wrong_is_told_in_few_words_and_at_once() -> None:
    tool = tool_with({"top_k": {"type": "integer", "maximum": 100}, "words": {"type": "array", "items": {}}})
    started = time.monotonic()
    for arguments in ({f"k{number}": 1 for number in range(200_000)}, {"words": [1] * 1_000_000}):
        with pytest.raises(ArgumentsInvalid) as refused:
            validate_arguments(tool, arguments)
        assert len(refused.value.problems) == 21
        assert str(refused.value.problems[-1]).endswith("; more is wrong, and not listed")
    assert time.monotonic() - started < 1


def test_a_number_of_many_digits_is_only_too_large() -> None:
    tool = tool_with({"top_k": {"type": "integer", "maximum": 100}})
    with pytest.raises(ArgumentsInvalid, match="top_k: must be at most 100"):
        validate_arguments(tool, {"top_k": 10**400})
