"""Which models a document's reranking needs, and where it names them."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.workspace import RerankingConfig, WorkspaceInvalid, cross_encoders, format_path, parse_workspace

DEFAULT = "cross-encoder/ms-marco-MiniLM-L-6-v2"
RETRIEVAL = {"use": "rag.retrieval"}
FIRST = "pipelines.p.steps[1].config.model"
SHARED = {"rag": {"techniques": {"reranking": {"model": "m"}}}}


def models(document: dict[str, Any]) -> dict[str, str]:
    workspace = parse_workspace(document, environ={"RERANKER": "from-the-environment"})
    return {model: format_path(use.at) for model, use in cross_encoders(workspace).items()}


def pipeline(*reranking: dict[str, Any]) -> dict[str, Any]:
    steps = [{"use": "rag.reranking", "name": f"r{number}", "config": each} for number, each in enumerate(reranking)]
    return {"steps": [RETRIEVAL, *steps]}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, {}),
        ({"pipelines": {"p": pipeline({})}}, {DEFAULT: FIRST}),
        ({"pipelines": {"p": pipeline({"model": "m"})}}, {"m": FIRST}),
        ({"pipelines": {"p": pipeline({"subtechnique": "cross-encoder"})}}, {DEFAULT: FIRST}),
        ({"pipelines": {"p": pipeline({"subtechnique": "bm25"}, {"subtechnique": "rrf"})}}, {}),
        (
            {"pipelines": {"p": pipeline({"model": "m"}, {"model": "n"}), "q": pipeline({"model": "m"})}},
            {"m": FIRST, "n": "pipelines.p.steps[2].config.model"},
        ),
        (
            {"shops": SHARED, "pipelines": {"p": pipeline({"top_k": 3})}},
            {"m": "shops.rag.techniques.reranking.model"},
        ),
        ({"shops": SHARED}, {}),
        (
            {"pipelines": {"p": pipeline({"model": "${RERANKER}"})}},
            {"from-the-environment": FIRST},
        ),
    ],
)  # fmt: skip
def test_the_models_that_steps_compare_with_are_known_with_their_places(
    document: dict[str, Any], expected: dict[str, str]
) -> None:
    assert models(document) == expected


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cross-encoder", "cross_encoder"), ("llm-rerank", "llm"), ("llm_rerank", "llm"), ("bm25-rerank", "bm25"),
        ("rrf", "fusion"), ("fusion", "fusion"), ("diversity-rerank", "diversity"), ("mmr", "diversity"),
    ],
)  # fmt: skip
def test_every_spelling_of_the_documentation_is_one_of_the_five(written: str, meant: str) -> None:
    assert RerankingConfig.model_validate({"subtechnique": written}).subtechnique == meant


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"backend": "torch", "device": "cuda"}, None),
        ({"device": "mps"}, "device: mps needs backend: torch; backend onnx runs on cpu"),
        (
            {"subtechnique": "bm25", "backend": "torch"},
            "backend: has no effect with subtechnique bm25; remove it, or set subtechnique: cross_encoder",
        ),
        ({"backend": "${backend}"}, "backend: is fixed when the runtime starts, no parameter can choose it"),
    ],
)
def test_what_runs_a_cross_encoder_is_judged_with_its_field(config: dict[str, Any], problem: str | None) -> None:
    parameters = {"parameters": {"backend": {"type": "string"}}} if config.get("backend") == "${backend}" else {}
    document = {"pipelines": {"p": {**pipeline(config), **parameters}}}
    if problem is None:
        assert models(document) == {DEFAULT: FIRST}
        return
    with pytest.raises(WorkspaceInvalid) as caught:
        models(document)
    assert f"pipelines.p.steps[1].config.{problem}" in str(caught.value)


def test_a_model_is_opened_in_one_way() -> None:
    with pytest.raises(WorkspaceInvalid) as caught:
        models({"pipelines": {"p": pipeline({"model": "m"}, {"model": "m", "backend": "torch"})}})
    assert (
        'pipelines.p.steps[2].config.backend: is "torch", and step "r0" of pipeline "p" opens the same model with '
        '"onnx"; a model is opened once: write the same in both, best under shops.rag.techniques.reranking'
    ) in str(caught.value)
