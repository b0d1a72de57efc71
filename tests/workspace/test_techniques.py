"""The names of techniques: one canonical id each, every spelling of the documentation accepted."""

from __future__ import annotations

import pytest

from sibyl_runtime.workspace import TECHNIQUES, RetrievalConfig, UnknownTechnique, technique
from sibyl_runtime.workspace.step_configs import AnyConfig


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("rag.retrieval", "rag.retrieval"),
        ("rag_pipeline.retrieval", "rag.retrieval"),
        ("rag-pipeline.retrieval", "rag.retrieval"),
        ("rag.query-processing", "rag.query_processing"),
        ("data_integration.load-documents", "data.load_documents"),
        ("data.loader", "data.load_documents"),
        ("data.storer", "data.store_vectors"),
        ("ai-generation.generation", "ai_generation.generation"),
        ("workflow_orchestration.session-management", "workflow.session_management"),
        ("infrastructure.query-classifier", "infrastructure.query_classifier"),
        (" rag.retrieval ", "rag.retrieval"),
    ],
)
def test_every_spelling_means_the_canonical_id(written: str, canonical: str) -> None:
    assert technique(written).id == canonical


def test_this_version_has_these_techniques() -> None:
    assert sorted(spec.id for spec in TECHNIQUES.values() if spec.available) == [
        "ai_generation.generation",
        "data.load_documents",
        "data.store_vectors",
        "infrastructure.cache_warming",
        "infrastructure.query_classifier",
        "rag.augmentation",
        "rag.chunking",
        "rag.embedding",
        "rag.query_processing",
        "rag.reranking",
        "rag.retrieval",
    ]


def test_an_available_technique_has_settings_and_results_of_its_own() -> None:
    for spec in TECHNIQUES.values():
        assert spec.id == f"{spec.shop}.{spec.short}"
        if spec.available:
            assert spec.config is not AnyConfig
            assert spec.results


def test_a_technique_knows_what_conditions_may_ask_of_it() -> None:
    spec = technique("rag.retrieval")
    assert spec.config is RetrievalConfig
    assert set(spec.results) == {"chunks", "count", "avg_score", "top_score"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "rag.retreival",
            'no technique is called "rag.retreival"; did you mean rag.retrieval? available: ai_generation',
        ),
        ("xyz", 'no technique is called "xyz"; its form is <shop>.<technique>; available: ai_generation.generation, '),
        ("", 'no technique is called ""; its form is'),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(written: str, message: str) -> None:
    with pytest.raises(UnknownTechnique) as caught:
        technique(written)
    assert str(caught.value).startswith(message)


def test_every_technique_that_the_documentation_uses_is_known() -> None:
    used = """
        ai_generation.generation rag.retrieval rag.chunking rag.reranking rag.query_processing rag.embedding
        infrastructure.security rag.augmentation ai_generation.validation infrastructure.caching rag.search rag.ranking
        ai_generation.consensus infrastructure.cache_warming infrastructure.query_classifier infrastructure.logging
        infrastructure.metrics infrastructure.cleanup infrastructure.compression infrastructure.evaluation
        data.load_documents data.store_vectors data.export data.export_user_data data.delete_user_documents
        notifications.send notifications.alert workflow.orchestration workflow_orchestration.graph
    """
    assert [technique(name).id for name in used.split()]
