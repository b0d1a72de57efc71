"""The settings of a step: three layers, parameters in place, checked against the technique's own model."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.workspace import (
    ArgumentsInvalid,
    ChunkingConfig,
    EmbeddingConfig,
    GenerationConfig,
    LoadDocumentsConfig,
    RetrievalConfig,
    StepConfig,
    StoreVectorsConfig,
    UnknownTechnique,
    Workspace,
    WorkspaceInvalid,
    depends_on_parameters,
    parse_workspace,
    run_parameters,
    step_config,
)
from sibyl_runtime.workspace.step_configs import AnyConfig


def settings(raw: dict[str, Any], pipeline: str, index: int, parameters: dict[str, Any] | None = None) -> StepConfig:
    workspace = parse_workspace(raw)
    step = workspace.effective_pipelines[pipeline].steps[index]
    return step_config(workspace, pipeline, step, parameters)


def three_layers(shop: str, key: str, values: tuple[Any, Any, Any], steps: list[str]) -> dict[str, Any]:
    """A document that sets `key` of the last of `steps` in the shop, for the technique, and in the step."""
    technique = steps[-1].partition(".")[2]
    first, second, third = ({} if value is None else {key: value} for value in values)
    return {
        "shops": {shop: {"config": first, "techniques": {technique: second}}},
        "pipelines": {"p": {"steps": [*({"use": use} for use in steps[:-1]), {"use": steps[-1], "config": third}]}},
    }


INGEST = ["data.load_documents", "rag.chunking", "rag.embedding", "data.store_vectors"]


@pytest.mark.parametrize(
    ("shop", "key", "default", "steps", "model"),
    [
        ("data", "max_file_size", 50 * 1024 * 1024, INGEST[:1], LoadDocumentsConfig),
        ("rag", "chunk_size", 256, INGEST[:2], ChunkingConfig),
        ("rag", "top_k", 5, ["rag.retrieval"], RetrievalConfig),
        ("ai_generation", "max_tokens", None, ["rag.retrieval", "ai_generation.generation"], GenerationConfig),
    ],
)
@pytest.mark.parametrize(
    ("values", "wins"),
    [
        ((None, None, None), "default"),
        ((101, None, None), 101),
        ((101, 102, None), 102),
        ((101, 102, 103), 103),
        ((None, 102, 103), 103),
        ((101, None, 103), 103),
    ],
)
def test_the_step_wins_over_the_technique_and_that_over_the_shop(
    shop: str,
    key: str,
    default: Any,
    steps: list[str],
    model: type[StepConfig],
    values: tuple[Any, Any, Any],
    wins: Any,
) -> None:
    merged = settings(three_layers(shop, key, values, steps), "p", len(steps) - 1)
    assert type(merged) is model
    assert getattr(merged, key) == (default if wins == "default" else wins)


def test_embedding_and_storing_merge_too() -> None:
    raw = three_layers("rag", "batch_size", (101, None, 103), INGEST[:3])
    raw["pipelines"]["p"]["steps"].append({"use": "data.store_vectors", "config": {"provider": "default"}})
    embedding, storing = settings(raw, "p", 2), settings(raw, "p", 3)
    assert isinstance(embedding, EmbeddingConfig)
    assert isinstance(storing, StoreVectorsConfig)
    assert (embedding.batch_size, storing.provider) == (103, "default")
    assert settings(raw, "p", 1) == ChunkingConfig(batch_size=101)


def test_a_setting_of_the_shop_reaches_only_techniques_that_know_it() -> None:
    raw = {"shops": {"rag": {"config": {"chunk_size": 512, "top_k": 9}}}}
    assert settings(raw, "search", 0) == RetrievalConfig(top_k=9)
    assert settings(raw, "ingest", 1) == ChunkingConfig(chunk_size=512)


def test_shops_and_techniques_have_their_aliases() -> None:
    raw = {"shops": {"rag-pipeline": {"config": {"top_k": 9}}, "data_integration": {"techniques": {"load-documents": {
        "chunk_size": 7}}}}}  # fmt: skip
    assert settings(raw, "search", 0) == RetrievalConfig(top_k=9)
    assert settings(raw, "ingest", 0) == LoadDocumentsConfig(chunk_size=7)


def search(config: dict[str, Any], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    names: dict[str, Any] = {
        "query": "string",
        "k": "integer",
        "lang": "string",
        "filters": "object",
        **(parameters or {}),
    }
    used = {"k": "integer", "lang": "string", "filters": "object"}.keys()
    text = " ".join(f"${{{name}:-}}" for name in used)
    generation = {"use": "ai_generation.generation", "config": {"system_prompt": f"x{text}"}}
    steps = [{"use": "rag.retrieval", "config": config}, generation]
    return {"pipelines": {"p": {"parameters": names, "steps": steps}}}


@pytest.mark.parametrize(
    ("config", "parameters", "expected"),
    [
        ({"top_k": "${k}"}, {"k": 3}, {"top_k": 3}),
        ({"top_k": "${k}"}, {}, {}),
        ({"top_k": "${k}"}, {"k": None}, {}),
        ({"top_k": "${k}"}, None, {}),
        ({"top_k": "${k:-8}"}, {}, {"top_k": 8}),
        ({"top_k": "${k:-8}"}, {"k": 2}, {"top_k": 2}),
        ({"filters": "${filters}"}, {"filters": {"a": 1}}, {"filters": {"a": 1}}),
        ({"filters": {"lang": "${lang}", "k": "${k}"}}, {"lang": "en", "k": 3}, {"filters": {"lang": "en", "k": 3}}),
        ({"filters": {"lang": "${lang}", "x": "y"}}, {}, {"filters": {"x": "y"}}),
        ({"filters": {"a": "${lang}-${k}"}}, {"lang": "en", "k": 3}, {"filters": {"a": "en-3"}}),
        ({"filters": {"a": "${lang:-de}!"}}, {}, {"filters": {"a": "de!"}}),
        ({"filters": {"a": "$${lang} ${lang}"}}, {"lang": "en"}, {"filters": {"a": "${lang} en"}}),
        ({"filters": {"a": "$${lang}"}}, {"lang": "en"}, {"filters": {"a": "${lang}"}}),
    ],
)
def test_parameters_are_put_in_with_their_type(
    config: dict[str, Any], parameters: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    assert settings(search(config), "p", 0, parameters) == RetrievalConfig(**expected)


def test_a_parameter_that_is_not_given_leaves_the_key_to_the_layer_below() -> None:
    raw = {**search({"top_k": "${k}"}), "shops": {"rag": {"config": {"top_k": 11}}}}
    assert settings(raw, "p", 0, {}) == RetrievalConfig(top_k=11)
    assert settings(raw, "p", 0, {"k": 2}) == RetrievalConfig(top_k=2)


def test_a_default_of_the_pipeline_counts_as_given() -> None:
    raw = search({"top_k": "${k}"}, {"k": {"type": "integer", "default": 6}})
    assert settings(raw, "p", 0, {}) == RetrievalConfig(top_k=6)
    assert settings(raw, "p", 0, {"k": 2}) == RetrievalConfig(top_k=2)
    workspace = parse_workspace(raw)
    assert run_parameters(workspace, "p", {"lang": "en"}) == {"k": 6, "lang": "en"}


@pytest.mark.parametrize(
    ("config", "parameters", "message"),
    [
        ({"top_k": "${k}"}, {"k": "many"}, 'k: must be a whole number, found "many"'),
        ({"top_k": "${k}"}, {"k": 5000}, "k: must be at most 1000, found 5000"),
        ({"top_k": "${k}"}, {"k": True}, "k: must be a whole number, found true"),
        (
            {"filters": "${filters}"},
            {"filters": {"a": [1]}},
            "filters: a must be text, a number, true or false, or a mapping of operators, found a list",
        ),
        ({"filters": "${filters}"}, {"filters": "a"}, 'filters: must be a mapping, found "a"'),
        (
            {"filters": {"a": "${lang}-x"}},
            {},
            "lang: is required here: pipelines.p.steps[0].config.filters.a is made from it",
        ),
    ],
)
def test_a_value_that_a_call_brought_is_the_fault_of_the_call(
    config: dict[str, Any], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        settings(search(config), "p", 0, parameters)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("config", "parameters", "message"),
    [
        (
            {"top_k": "${k}", "adaptive_k": True, "min_k": 3},
            {"k": 1},
            "k: does not fit step `retrieval`: min_k must not be above top_k (1), found 3",
        ),
        (
            {"top_k": "${k}", "subtechnique": "mmr", "mmr_candidates": 5},
            {"k": 9},
            "k: does not fit step `retrieval`: mmr_candidates must be at least top_k (9), found 5",
        ),
    ],
)
def test_a_value_of_a_call_that_contradicts_the_document_is_the_fault_of_the_call(
    config: dict[str, Any], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        settings(search(config), "p", 0, parameters)
    assert str(caught.value) == message


def test_a_value_that_the_document_holds_is_the_fault_of_the_document() -> None:
    workspace = Workspace.model_validate(
        {"pipelines": {"p": {"steps": [{"use": "rag.retrieval", "config": {"top_k": 0}}]}}}
    )
    with pytest.raises(WorkspaceInvalid, match=r"pipelines\.p\.steps\[0\]\.config\.top_k: must be at least 1, found 0"):
        step_config(workspace, "p", workspace.pipelines["p"].steps[0], {})


def test_an_unknown_technique_has_no_settings() -> None:
    workspace = Workspace.model_validate({"pipelines": {"p": {"steps": [{"use": "rag.retrievel"}]}}})
    with pytest.raises(UnknownTechnique, match=r'"rag\.retrievel"; did you mean rag\.retrieval\?'):
        step_config(workspace, "p", workspace.pipelines["p"].steps[0], {})


def test_a_technique_that_is_known_by_name_only_keeps_any_settings() -> None:
    raw = {"pipelines": {"p": {"steps": [{"use": "rag.ranking", "config": {"anything": 1}}]}}}
    workspace = parse_workspace(raw, check_available=False)
    merged = step_config(workspace, "p", workspace.pipelines["p"].steps[0], {})
    assert type(merged) is AnyConfig
    assert merged.model_dump() == {"anything": 1}


@pytest.mark.parametrize(
    ("shop", "step", "varies"),
    [
        ({}, {"top_k": 3, "filters": {"lang": "en"}}, False),
        ({}, {"filters": {"lang": "$${lang}"}}, False),
        ({}, {"top_k": "${top_k}"}, True),
        ({}, {"filters": {"lang": {"in": ["de", "${lang}-x"]}}}, True),
        ({"top_k": "${top_k:-5}"}, {}, True),
    ],
)
def test_settings_depend_on_parameters_where_a_text_of_any_layer_refers_to_one(
    shop: dict[str, Any], step: dict[str, Any], varies: bool
) -> None:
    pipeline = {"steps": [{"use": "rag.retrieval", "config": step}]}
    workspace = Workspace.model_validate({"shops": {"rag": {"config": shop}}, "pipelines": {"p": pipeline}})
    assert depends_on_parameters(workspace, "p", workspace.pipelines["p"].steps[0]) is varies
